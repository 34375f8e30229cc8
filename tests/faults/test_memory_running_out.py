"""Workers that take more memory than there is: the kernel's own out-of-memory kill, in a real cgroup."""

import subprocess
import sys

import pytest
from cgroups import limited_memory
from sample_packages import python_neuropod

pytestmark = pytest.mark.workers

LIMIT = 300 * 2**20

HOG = """
import os
def load(data_dir):
    def run(x):
        if x[0] == 1:
            taken = []
            while True:
                taken.append(bytearray(b"x" * 2**20))
        if x[0] == 5:
            os.kill(os.getpid(), 9)
        return {"y": x * 2}
    return run
"""

# An application that moves itself into the cgroup and loads two models there.
APPLICATION = """
import os, sys
group, path, cache = sys.argv[1:4]
with open(group, "w") as file:
    file.write(str(os.getpid()))
import numpy as np
from neuropod_ope import Runtime, WorkerDied
with Runtime(cache_dir=cache) as runtime:
    hog, other = (runtime.load(path, out_of_process=True) for _ in range(2))
    def call(model, number):
        return model.infer({"x": np.full(3, number, np.float32)})["y"].tolist()
"""

TELLS = """
    pid = other.workers[0].pid
    for _ in range(2):
        try:
            call(hog, 1)
        except WorkerDied as error:
            print(error.out_of_memory, int(error.signal), str(error).splitlines()[0].split(") ", 1)[1])
        print(call(hog, 2), call(other, 3), other.workers[0].pid == pid)
"""


def run(code, tmp_path):
    package = python_neuropod(tmp_path, {"main.py": HOG})
    with limited_memory(LIMIT) as group:
        return subprocess.run(
            [sys.executable, "-c", APPLICATION + code, group, package, tmp_path / "cache"],
            capture_output=True,
            text=True,
            timeout=120,
        )


def test_the_kernels_kill_is_named_and_nobody_else_notices(tmp_path):
    done = run(TELLS, tmp_path)
    says = "was killed by the kernel (SIGKILL), because memory ran out (the limit is 300 MiB), while it ran a call"
    assert done.stdout.splitlines() == [f"True 9 {says}", "[4.0, 4.0, 4.0] [6.0, 6.0, 6.0] True"] * 2, done.stderr


def test_the_kernel_ends_the_worker_and_not_an_application_that_is_larger(tmp_path):
    larger = """
    ballast = bytearray(b"x") * (140 * 2**20)
    try:
        call(hog, 1)
    except WorkerDied as error:
        print(error.out_of_memory, call(hog, 2))
"""
    done = run(larger, tmp_path)
    assert (done.returncode, done.stdout) == (0, "True [4.0, 4.0, 4.0]\n"), done.stderr


def test_somebody_elses_kill_is_not_taken_for_it(tmp_path):
    killed = """
    try:
        call(hog, 5)
    except WorkerDied as error:
        print(error.out_of_memory, "somebody killed it" in str(error), "memory" in str(error))
"""
    done = run(killed, tmp_path)
    assert done.stdout == "False True False\n", done.stderr
