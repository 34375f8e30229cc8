"""Arguments that make no sense are errors at once: a typo in a policy must not fail open."""

import pytest

from neuropod_ope import HandleClosed, Runtime


@pytest.mark.parametrize(
    ("policy", "error", "says"),
    [
        ({"build": "Never"}, ValueError, "build must be one of 'if-missing', 'never', not 'Never'"),
        ({"build": False}, ValueError, "build must be one of"),
        ({"segment": "file"}, ValueError, "segment must be one of"),
        ({"memory_budget": 1000}, ValueError, "memory_budget is a number of bytes, at least 1048576, not 1000"),
        ({"environ_allow": "MODEL_*"}, TypeError, "environ_allow must be a list"),
        ({"allow_source": "numpy"}, TypeError, "allow_source must be a list"),
    ],
)
def test_a_policy_that_is_none_is_refused(policy, error, says):
    with pytest.raises(error, match=says):
        Runtime(**policy)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"visible_gpu": "0"}, ValueError, "visible_gpu must be the index"),
        ({"visible_gpu": -1}, ValueError, "visible_gpu must be the index"),
        ({"timeout": "3"}, ValueError, "timeout='3'"),
        ({"timeout": 0}, ValueError, "timeout=0"),
        ({"timeout": 1, "out_of_process": False}, ValueError, "needs a model that runs out of process"),
        ({"wait": "poll"}, ValueError, "wait must be one of 'adaptive', 'spin', 'block', not 'poll'"),
        ({"instances": 0}, ValueError, "instances must be a number of workers, at least 1, not 0"),
        ({"instances": True}, ValueError, "instances must be a number of workers"),
        ({"instances": "2"}, ValueError, "instances must be a number of workers"),
        ({"instances": 2, "out_of_process": False}, ValueError, "need a model that runs out of process"),
        (
            {"environment": "python3", "out_of_process": False},
            ValueError,
            "environment, instances, threads and affinity need a model that runs out of process",
        ),
        ({"threads": 0}, ValueError, "threads must be a number of threads, at least 1, not 0"),
        ({"threads": 2, "out_of_process": False}, ValueError, "need a model that runs out of process"),
        ({"affinity": [10**6]}, ValueError, "affinity names the processors"),
        ({"out_of_process": "yes"}, ValueError, "out_of_process must be one of None, True, False, not 'yes'"),
        ({"restart": "always"}, TypeError, "restart must be a RestartPolicy"),
        ({"on_event": 3}, TypeError, "on_event must be a function"),
        ({"retries": -1}, ValueError, "retries must be"),
        ({"retries": 1, "out_of_process": False}, ValueError, "need a model that runs out of process"),
        ({"load_timeout": 0}, ValueError, "load_timeout must be"),
        ({"cancel": "both"}, ValueError, "cancel must be 'queue' or 'kill'"),
        ({"capsule": 3}, TypeError, "capsule"),
        ({"redact": print}, TypeError, "capsule"),
        ({"capsule": ".", "redact": 3}, TypeError, "capsule"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_started(tmp_path, options, error, says):
    with Runtime(cache_dir=tmp_path) as runtime, pytest.raises(error, match=says):
        runtime.load(tmp_path / "any", **options)


def test_a_closed_runtime_says_so(tmp_path):
    runtime = Runtime(cache_dir=tmp_path)
    runtime.close()
    runtime.close()
    with pytest.raises(HandleClosed, match="this runtime is closed"):
        runtime.load(tmp_path / "any")
