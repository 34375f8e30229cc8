"""Models beside each other in one runtime, whose processes are marked."""

import gc
import os

import pytest
from left_behind import kernel_objects, marked_processes
from loaders import WAYS, Loader
from surroundings import DOUBLING, NUMBERS, OUT, Bystander

_MARK = "NEUROPOD_OPE_FAULTS"  # in the environment of our workers and all that they start


@pytest.fixture(scope="module")
def marked():
    """Marks the processes of this module's workers; afterwards none of them is there."""
    gc.collect()
    before = kernel_objects()
    value = f"{os.getpid()}.{os.urandom(4).hex()}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_MARK, value)
        yield value
    gc.collect()
    assert not marked_processes(value)
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
