"""Real models in this process and in real workers, and a look afterwards at what is left."""

import gc
import os
import threading

import psutil
import pytest
from sample_packages import python_neuropod

from neuropod_ope import Runtime


def kernel_objects():
    """What a test may not leave behind: children, descriptors, threads, shared memory."""
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    return {
        "children": children,
        "descriptors": {name for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")},
        "threads": {thread.name for thread in threading.enumerate()},
        "/dev/shm": {name for name in os.listdir("/dev/shm") if name.startswith("neuropod_ope")},
    }


@pytest.fixture(autouse=True)
def nothing_is_left():
    gc.collect()
    before = kernel_objects()
    yield
    gc.collect()
    after = kernel_objects()
    left = {kind: after[kind] - before[kind] for kind in before if after[kind] - before[kind]}
    assert not left


# Every way to run a model; the contract tests run over all of them.
WAYS = {
    "in process": {"out_of_process": False},
    "worker": {"out_of_process": True},
    "worker, memfd": {"out_of_process": True, "segment": "memfd"},
    "worker, portable twins": {"out_of_process": True, "portable": True},
}


class Loader:
    """Packages code as a model and loads it; closes its runtime at the end."""

    def __init__(self, tmp_path, out_of_process, **policy):
        self.tmp_path = tmp_path
        self.runtime = Runtime(cache_dir=tmp_path / "cache", **policy)
        self.out_of_process = out_of_process
        self.count = 0

    def package(self, code, inputs, outputs, **parameters):
        self.count += 1
        folder = self.tmp_path / f"model{self.count}"
        folder.mkdir()
        return python_neuropod(
            folder, {"main.py": code}, input_spec=specs(inputs), output_spec=specs(outputs), **parameters
        )

    def __call__(self, code, inputs, outputs, **options):
        path = self.package(code, inputs, outputs)
        return self.runtime.load(path, out_of_process=self.out_of_process, **options)


def specs(tensors):
    """{"x": ("float32", (None,))} as a list of specs."""
    return [{"name": name, "dtype": dtype, "shape": shape} for name, (dtype, shape) in tensors.items()]


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def load(request, tmp_path):
    loader = Loader(tmp_path, **request.param)
    with loader.runtime:
        yield loader


@pytest.fixture
def load_out_of_process(tmp_path):
    loader = Loader(tmp_path, out_of_process=True)
    with loader.runtime:
        yield loader
