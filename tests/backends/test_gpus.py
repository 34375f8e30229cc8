"""Which GPU a model is given, decided from what the framework sees and which device files there are."""

import pytest
from sample_packages import write_files

from neuropod_worker.backends.gpus import chosen_gpu
from neuropod_worker.errors import LoadError


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that gives the machine so many GPUs, of which ``visible`` is what the variable says."""

    def has(gpus, visible=None):
        write_files(tmp_path, {"nvidia%d" % number: "" for number in range(gpus)})
        write_files(tmp_path, {"nvidiactl": ""})
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        return str(tmp_path / "nvidia[0-9]*")

    return has


@pytest.mark.parametrize("wanted", [None, 0, 3])
def test_where_no_gpu_is_every_choice_means_the_cpu(machine, wanted):
    assert chosen_gpu(wanted, "torch", 0, machine(0, visible="3")) is None


def test_a_gpu_that_is_there_is_taken_and_none_means_the_cpu(machine):
    assert [chosen_gpu(wanted, "torch", 2, machine(2)) for wanted in (None, 0, 1)] == [None, 0, 1]


def test_one_beyond_the_last_is_a_load_error_that_says_what_is_there(machine):
    with pytest.raises(LoadError, match="there is no GPU 2; torch sees 2, counted from 0"):
        chosen_gpu(2, "torch", 2, machine(2))


def test_in_a_worker_which_is_given_that_one_it_is_the_same(machine):
    with pytest.raises(LoadError, match="there is no GPU 2; this machine has 2, counted from 0"):
        chosen_gpu(0, "torch", 0, machine(2, visible="2"))


@pytest.mark.parametrize("visible", [None, "", "-1", "1", "GPU-4711", "NoDevFiles"])
def test_a_framework_that_is_built_for_the_cpu_runs_there(machine, visible):
    assert chosen_gpu(0, "torch", 0, machine(2, visible)) is None
