"""A worker that does to the shared memory whatever it can."""

import numpy as np
import pytest
from loaders import WAYS, Loader
from surroundings import NUMBERS, OUT, works

from neuropod_ope import WorkerDied

pytestmark = pytest.mark.workers

# For every descriptor that it holds.
HOSTILE = """
import contextlib, ctypes, os, stat
PUNCH_HOLE = 0x01 | 0x02
def truncate(fd): os.ftruncate(fd, 0)
def grow(fd): os.ftruncate(fd, 2**50)
def punch(fd): ctypes.CDLL(None).fallocate(fd, PUNCH_HOLE, ctypes.c_int64(0), ctypes.c_int64(2**36))
def load(data_dir):
    def run(x, flag=""):
        if str(flag):
            for name in os.listdir("/proc/self/fd"):
                with contextlib.suppress(OSError):
                    if stat.S_ISREG(os.fstat(int(name)).st_mode):
                        globals()[str(flag)](int(name))
        return {"y": x * 2}
    return run
"""


@pytest.mark.parametrize("deed", ["truncate", "grow", "punch"])
def test_whatever_it_does_to_its_descriptors_a_client_with_memfd_is_not_harmed(deed, tmp_path):
    loader = Loader(tmp_path, **WAYS["worker, memfd"])
    with loader.runtime:
        model = loader(HOSTILE, {**NUMBERS, "flag": ("string", ())}, OUT)
        held = model.infer({"x": np.arange(100_000.0)})["y"]
        for _ in range(3):
            for size in (3, 100_000):
                try:
                    model.infer({"x": np.ones(size), "flag": deed})
                except WorkerDied:  # it may well harm itself
                    pass
            assert works(model)
        if deed != "punch":  # which takes the contents, and leaves memory to read and write
            assert (held == 2 * np.arange(100_000)).all()
        assert held.sum() >= 0
