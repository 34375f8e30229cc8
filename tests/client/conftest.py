"""Real models in this process and in real workers, and a look afterwards at what is left."""

import gc

import psutil
import pytest
from gates import Gate
from left_behind import kernel_objects
from loaders import EXECUTORS, WAYS, Loader


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    gc.collect()
    before = kernel_objects()
    yield
    gc.collect()
    after = kernel_objects()
    left = {kind: after[kind] - before[kind] for kind in before if after[kind] - before[kind]}
    if request.node.get_closest_marker("interrupted"):
        # Between the system call that opens a descriptor and the bytecode that notes it nothing can help.
        left.pop("descriptors", None)
        # Nor between the fork of a process and the object for it: it ends, and the next fork reaps it.
        left["children"] = {pid for pid in left.get("children", ()) if psutil.Process(pid).status() != "zombie"}
        left = {kind: things for kind, things in left.items() if things}
    assert not left


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def load(request, tmp_path):
    loader = Loader(tmp_path, **request.param)
    with loader.runtime:
        yield loader


@pytest.fixture(params=EXECUTORS.values(), ids=EXECUTORS)
def load_in_executors(request, tmp_path):
    loader = Loader(tmp_path, **request.param)
    with loader.runtime:
        yield loader


@pytest.fixture
def load_out_of_process(tmp_path):
    loader = Loader(tmp_path, out_of_process=True)
    with loader.runtime:
        yield loader


@pytest.fixture(params=["worker", "worker, portable twins"])
def load_in_workers(request, tmp_path):
    loader = Loader(tmp_path, **WAYS[request.param])
    with loader.runtime:
        yield loader


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path)
    yield gate
    gate.open()
