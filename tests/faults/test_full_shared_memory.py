"""A /dev/shm that is really full: small ones, mounted over it where only the application of the test sees them."""

import functools
import os
import shutil
import subprocess
import sys

import pytest
from sample_packages import python_neuropod

pytestmark = pytest.mark.workers

MIB = 2**20
ANY = {"dtype": "uint8", "shape": (None,)}

# Gives as many bytes as it is asked for, or the sum of what it gets.
MODEL = """
import numpy as np
def load(data_dir):
    def run(x=None, want=None):
        return {"y": np.ones(int(want), np.uint8) if want is not None else x[:1] + 1}
    return run
"""

APPLICATION = """
import logging, os, re, sys
logging.disable()
import numpy as np
from neuropod_ope import Runtime, SharedMemoryExhausted
path, cache, segment = sys.argv[1:]
MIB = 2**20

def size():
    return os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize

def free():
    return os.statvfs("/dev/shm").f_bavail * os.statvfs("/dev/shm").f_frsize

def fill():
    with open("/dev/shm/filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free())

def small(model):
    return model.infer({"x": np.array([6], np.uint8)})["y"].tolist() == [7]

def exhausted(call):
    try:
        call()
    except SharedMemoryExhausted as error:
        return error
    raise AssertionError("it should have been too much")

runtime = Runtime(cache_dir=cache, segment=segment)
model = runtime.load(path, out_of_process=True)
pid = model.workers[0].pid
assert small(model)
"""


@functools.lru_cache(None)
def why_not():
    """Why no file system can be mounted here, or ""."""
    if shutil.which("unshare") is None:
        return "there is no unshare(1)"
    tried = subprocess.run([*mounted(16), "true"], capture_output=True, text=True)
    return f"nothing can be mounted here: {tried.stderr.strip()}" if tried.returncode else ""


def mounted(mib):
    """A command in whose mount namespace /dev/shm has this size."""
    mount = f'mount -t tmpfs -o size={mib}m tmpfs /dev/shm && exec "$@"'
    return ["unshare", *(() if os.geteuid() == 0 else ("-r",)), "-m", "sh", "-c", mount, "sh"]


@pytest.fixture
def application(tmp_path):
    """Runs code in an application with a /dev/shm of so many MiB; nothing may be left there at its end."""
    if why_not():
        pytest.skip(why_not())
    inputs = [{"name": "x", **ANY}, {"name": "want", "dtype": "int64", "shape": ()}]
    package = python_neuropod(tmp_path, {"main.py": MODEL}, input_spec=inputs, output_spec=[{"name": "y", **ANY}])

    def run(code, mib, segment="posix"):
        code = APPLICATION + code + "\nruntime.close()\nmodel = another = error = None\n"
        code += "import gc; gc.collect()\nassert free() == size(), (free(), size())\n"
        arguments = [sys.executable, "-c", code, package, tmp_path / "cache", segment]
        done = subprocess.run([*mounted(mib), *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and not done.stderr, done.stderr

    return run


@pytest.mark.parametrize("mib", [16, 64])
def test_inputs_that_do_not_fit_are_an_error_of_the_client_and_the_model_goes_on(application, mib):
    application(
        """
for _ in range(3):
    error = exhausted(lambda: model.infer({"x": np.zeros(size(), np.uint8)}))
    assert error.wanted == size() and error.in_use >= 0
    assert re.search(r"no shared memory for \\d+ more bytes .* free space in /dev/shm", str(error)), error
    assert small(model)
half = np.full(size() // 2, 6, np.uint8)
assert model.infer({"x": half})["y"].tolist() == [7]
assert model.workers[0].pid == pid
""",
        mib,
    )


@pytest.mark.parametrize("mib", [16, 64])
def test_outputs_that_do_not_fit_are_an_error_of_the_worker_and_the_model_goes_on(application, mib):
    application(
        """
for _ in range(3):
    error = exhausted(lambda: model.infer({"want": size()}))
    assert error.wanted == size() and error.in_use >= 0
    assert re.search(r"no shared memory for \\d+ more bytes .* free space in /dev/shm", str(error)), error
    assert small(model)
assert (model.infer({"want": size() // 2})["y"] == 1).all()
assert model.workers[0].pid == pid
""",
        mib,
    )


def test_results_that_are_kept_until_nothing_is_left_are_an_error_until_they_are_given_up(application):
    application(
        """
kept = []
error = None
while error is None:
    try:
        kept.append(model.infer({"want": MIB})["y"])
    except SharedMemoryExhausted as caught:
        error = caught
assert len(kept) >= 12
assert error.in_use >= len(kept) * MIB
assert all((one == 1).all() for one in kept)
assert small(model)
del kept[:2]
assert (model.infer({"want": MIB})["y"] == 1).all()
kept.clear()
assert model.workers[0].pid == pid
""",
        16,
    )


def test_what_others_filled_is_an_error_on_both_sides_and_works_again_when_there_is_space(application):
    application(
        """
for large in (MIB, 3 * MIB):  # larger than what the arenas hold already
    fill()
    exhausted(lambda: model.infer({"x": np.zeros(large, np.uint8)}))
    exhausted(lambda: model.infer({"want": large}))
    error = exhausted(lambda: runtime.load(path, out_of_process=True))
    assert "cannot make the shared memory of a worker" in str(error)
    assert small(model)
    os.unlink("/dev/shm/filler")
    assert (model.infer({"want": large})["y"] == 1).all()
    assert model.infer({"x": np.full(large, 6, np.uint8)})["y"].tolist() == [7]
    with runtime.load(path, out_of_process=True) as another:
        assert small(another)
assert model.workers[0].pid == pid
""",
        16,
    )


def test_a_worker_that_dies_while_it_is_full_comes_back_when_there_is_space(application):
    application(
        """
from neuropod_ope import WorkerDied
fill()
os.kill(pid, 9)
error = exhausted(lambda: [small(model) for _ in range(100)])
os.unlink("/dev/shm/filler")
assert small(model)
""",
        16,
    )


def test_allocated_inputs_that_do_not_fit_are_an_error(application):
    application(
        """
error = exhausted(lambda: model.allocate("x", (size(),)))
assert error.wanted == size()
array = model.allocate("x", (MIB,))
array[:] = 6
assert model.infer({"x": array})["y"].tolist() == [7]
del array
""",
        16,
    )


@pytest.mark.parametrize("segment", ["memfd", "auto"])
def test_memfd_needs_none_of_it_and_is_what_is_used_where_it_is_small(application, segment):
    application(
        """
fill()
assert model.infer({"x": np.full(2 * size(), 6, np.uint8)})["y"].tolist() == [7]
assert (model.infer({"want": 2 * size()})["y"] == 1).all()
with runtime.load(path, out_of_process=True) as another:
    assert small(another)
os.unlink("/dev/shm/filler")
""",
        16,
        segment,
    )
