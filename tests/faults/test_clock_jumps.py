"""A wall clock that jumps, for the application and its workers, while they wait for each other."""

import os
import subprocess
import sys

import pytest
from sample_packages import python_neuropod

from neuropod_ope import Runtime
from neuropod_worker.shm import doorbell

pytestmark = pytest.mark.workers

# Every look at the wall clock in a process that preloads this finds it as many seconds off as the file $JUMP says.
JUMPING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long off(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("JUMP"), "r");
    if (file) {
        if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
        fclose(file);
    }
    return seconds;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = next(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += off();
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told) *told = now.tv_sec;
    return now.tv_sec;
}
"""

MODEL = """
import os, time
def load(data_dir):
    def run(x, gate=""):
        if gate:
            open(str(gate) + ".begun", "w").close()
            while not os.path.exists(str(gate)): time.sleep(0.001)
        return {"y": x * 2, "now": time.time()}
    return run
"""
IN = [{"name": "x", "dtype": "float64", "shape": (None,)}, {"name": "gate", "dtype": "string", "shape": ()}]
OUT = [{"name": "y", "dtype": "float64", "shape": (None,)}, {"name": "now", "dtype": "float64", "shape": ()}]

APPLICATION = """
import os, signal, sys, time
from neuropod_ope import InferTimeout, Runtime

package, cache, portable = sys.argv[1:]
DAY = 86400.0
actual = time.time() - time.monotonic()
off = lambda now: round((now - time.monotonic() - actual) / DAY)

def jump(days):
    with open(os.environ["JUMP"] + ".new", "w") as file:
        file.write(str(int(days * DAY)))
    os.replace(os.environ["JUMP"] + ".new", os.environ["JUMP"])
    assert off(time.time()) == days

with Runtime(cache_dir=cache, environ_allow=["LD_PRELOAD", "JUMP"], portable=portable == "portable") as runtime:
    model = runtime.load(package, out_of_process=True, timeout=100)
    restarts = 0
    for number, days in enumerate((100, -100, 5000, 0)):
        gate = f"{cache}.gate{number}"
        running = model.submit({"x": [float(number)], "gate": gate})
        queued = model.submit({"x": [1.0]})
        while not os.path.exists(gate + ".begun"): os.sched_yield()
        jump(days)
        health = model.health()
        assert health.ready and health.progress[0].seconds < 100, health
        try:
            model.infer({"x": [1.0]}, timeout=0.05)  # behind one that runs
        except InferTimeout as error:
            assert "before the worker began it" in str(error)
        open(gate, "w").close()
        assert running.result(100)["y"].tolist() == [2.0 * number]
        answer = queued.result(100)
        assert answer["y"].tolist() == [2.0] and off(answer["now"]) == days, (answer, days)
        assert model.workers[0].restarts == restarts, "a death that was none"

        try:
            model.infer({"x": [1.0], "gate": cache + ".never"}, timeout=0.2)
        except InferTimeout as error:
            assert "was killed" in str(error)
        jump(-days)  # while a fresh worker starts
        model.wait_ready(100)
        os.kill(model.workers[0].pid, signal.SIGKILL)
        assert model.infer({"x": [3.0]})["y"].tolist() == [6.0]
        restarts += 2
        assert model.workers[0].restarts == restarts
    model.drain(100)
print("well")
"""


@pytest.fixture(scope="module")
def jumping(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jumping")
    (folder / "jumping.c").write_text(JUMPING)
    command = ["gcc", "-shared", "-fPIC", "-o", folder / "jumping.so", folder / "jumping.c", "-ldl"]
    subprocess.run(command, check=True)
    return folder / "jumping.so"


@pytest.mark.parametrize("way", ["linux", "portable"])
def test_a_wall_clock_that_jumps_makes_nothing_late_and_nobody_dead(jumping, tmp_path, way):
    package = python_neuropod(tmp_path, {"main.py": MODEL}, input_spec=IN, output_spec=OUT)
    done = subprocess.run(
        [sys.executable, "-c", APPLICATION, package, tmp_path / "cache", way],
        env={**os.environ, "LD_PRELOAD": str(jumping), "JUMP": str(tmp_path / "jump")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.stdout, done.returncode) == ("well\n", 0), done.stderr


def test_where_the_libc_waits_for_semaphores_on_the_wall_clock_alone_pipes_are_used(tmp_path, monkeypatch):
    old = type("OldLibc", (), {})()
    monkeypatch.setattr(doorbell, "releasing_gil", old)
    package = python_neuropod(tmp_path, {"main.py": MODEL}, input_spec=IN, output_spec=OUT)
    with Runtime(cache_dir=tmp_path / "cache") as runtime:
        model = runtime.load(package, out_of_process=True)
        for number in range(10):
            assert model.infer({"x": [float(number)]})["y"] == [2.0 * number]
