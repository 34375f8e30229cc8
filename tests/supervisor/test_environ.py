import pytest

from neuropod_ope.supervisor.environ import worker_environ


def test_variables_come_from_an_allow_list_and_what_was_dropped_is_known():
    environ = {"PATH": "/bin", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "2", "API_KEY": "secret", "MODEL_DIR": "/m"}
    variables, dropped = worker_environ(environ, ["MODEL_*"], None)
    assert variables == {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "2",
        "MODEL_DIR": "/m",
        "CUDA_VISIBLE_DEVICES": "",
    }
    assert dropped == {"API_KEY"}


@pytest.mark.parametrize(
    ("locale", "given"), [({}, "C.UTF-8"), ({"LANG": "C"}, "C.UTF-8"), ({"LANG": "de_DE.utf8"}, None)]
)
def test_a_worker_has_a_utf8_locale(locale, given):
    assert worker_environ(locale, (), None).variables.get("LC_ALL") == given


@pytest.mark.parametrize(
    ("ours", "wanted", "theirs"),
    [
        (None, None, ""),
        (None, 0, "0"),
        (None, 3, "3"),
        ("2,5", None, ""),
        ("2,5", 0, "2"),
        ("2,5", 1, "5"),
        ("GPU-8932f937-d72c", 0, "GPU-8932f937-d72c"),
        ("", 0, ""),
    ],
)
def test_a_worker_sees_only_its_gpu_counted_among_those_that_we_see(ours, wanted, theirs):
    environ = {} if ours is None else {"CUDA_VISIBLE_DEVICES": ours}
    assert worker_environ(environ, (), wanted).variables["CUDA_VISIBLE_DEVICES"] == theirs


def test_a_gpu_that_we_do_not_see_is_an_error_that_says_so():
    with pytest.raises(ValueError, match=r"visible_gpu=2, but this application sees 2 GPU\(s\): '2,5'"):
        worker_environ({"CUDA_VISIBLE_DEVICES": "2,5"}, (), 2)
