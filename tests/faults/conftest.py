"""Models beside each other in one runtime, whose processes are marked."""

import gc
import os

import pytest
import scenarios
from left_behind import kernel_objects, wait_none_marked
from loaders import WAYS, Loader
from sample_packages import python_neuropod
from surroundings import DOUBLING, NUMBERS, OUT, Bystander

_MARK = "NEUROPOD_OPE_FAULTS"  # in the environment of our workers and all that they start
_ANY = {"dtype": "float64", "shape": None}


@pytest.fixture(scope="session")
def mark():
    return _MARK


@pytest.fixture(scope="module")
def unique():
    return f"{os.getpid()}.{os.urandom(4).hex()}"


@pytest.fixture(scope="module")
def marked(unique):
    """Marks the processes of this module's workers; afterwards none of them is there."""
    gc.collect()
    before = kernel_objects()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_MARK, unique)
        yield unique
    gc.collect()
    wait_none_marked(unique)
    left = {kind: things - before[kind] for kind, things in kernel_objects().items()}
    assert not any(left.values()), left


@pytest.fixture(scope="module", params=["worker", "worker, portable twins"])
def loader(request, tmp_path_factory, marked):
    made = Loader(tmp_path_factory.mktemp("faults"), **WAYS[request.param], environ_allow=[_MARK])
    with made.runtime:
        yield made


@pytest.fixture(scope="module")
def bystander(loader):
    made = Bystander(loader(DOUBLING, NUMBERS, OUT))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def stepped_packages(tmp_path_factory):
    """Those of `scenarios.Stage`."""

    def package(name, code):
        folder = tmp_path_factory.mktemp(name)
        specs = {"input_spec": [{"name": "x", **_ANY}], "output_spec": [{"name": "y", **_ANY}]}
        return python_neuropod(folder, {"main.py": code}, **specs)

    return package("model", scenarios.WITH_A_CHILD), package("broken", scenarios.BROKEN)
