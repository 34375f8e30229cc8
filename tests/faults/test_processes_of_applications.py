"""Applications that consist of several processes or threads, and what they leave."""

import subprocess
import sys

import pytest
from left_behind import wait_none_marked
from sample_packages import python_neuropod

pytestmark = pytest.mark.workers

MODEL = """
import os, time
def load(data_dir):
    def run(x):
        if x[0] == 1:
            print("running", flush=True); time.sleep(1000)
        if x[0] == 8:
            print("running", flush=True); time.sleep(1)
        if x[0] == 7:
            os.kill(os.getpid(), 11)
        return {"y": x * 2}
    return run
"""

APPLICATION = """
import logging, multiprocessing, os, sys, threading, time
import numpy as np
from neuropod_ope import HandleClosed, Runtime, WorkerDied
path, cache, mark = sys.argv[1:4]
models = []

def load():
    models.append(Runtime(cache_dir=cache, environ_allow=[mark]).load(path, out_of_process=True))

def call(number):
    return models[-1].infer({"x": np.full(2, number, np.float32)})["y"].tolist()

"""


@pytest.fixture
def application(tmp_path, marked, mark):
    """Runs code as the program of an application, and gives its lines; none of its workers may outlive it."""
    package = python_neuropod(tmp_path, {"main.py": MODEL})

    def run(code, *options):
        program = tmp_path / "application.py"
        program.write_text(APPLICATION + code)
        command = [sys.executable, *options, program, package, tmp_path / "cache", mark]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        wait_none_marked(marked)
        assert done.returncode == 0, done.stderr
        assert "Exception ignored" not in done.stderr
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_of_multiprocessing_have_models_of_their_own(application, method):
    code = f"""
if __name__ == "__main__":
    load()
    with multiprocessing.get_context({method!r}).Pool(2, load) as pool:
        print(pool.map(call, range(2, 6)))
        print(call(6))
"""
    assert application(code) == ["[[4.0, 4.0], [6.0, 6.0], [8.0, 8.0], [10.0, 10.0]]", "[12.0, 12.0]"]


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_process_of_multiprocessing_that_is_terminated_takes_its_worker_along(application, method):
    code = f"""
def load_and_call(started):
    load()
    started.put(models[0].workers[0].pid)
    call(1)

if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    started = context.Queue()
    process = context.Process(target=load_and_call, args=(started,), daemon=True)
    process.start()
    worker = os.pidfd_open(started.get())
    process.terminate()
    process.join()
    import select
    print(bool(select.select([worker], [], [], 10)[0]))
"""
    assert application(code) == ["True"]


def test_a_process_that_forks_after_a_load_tells_its_child_and_goes_on(application):
    code = """
def in_child(number):
    try:
        return call(number)
    except HandleClosed as error:
        return "forked" in str(error)

if __name__ == "__main__":
    load()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(in_child, range(2)), call(6))
"""
    assert application(code) == ["[True, True] [12.0, 12.0]"]


def test_the_thread_that_loaded_may_end(application):
    code = """
thread = threading.Thread(target=load)
thread.start()
thread.join()
pid = models[0].workers[0].pid
for number in range(2, 5):
    print(call(number), models[0].workers[0].pid == pid)
"""
    assert application(code) == ["[4.0, 4.0] True", "[6.0, 6.0] True", "[8.0, 8.0] True"]


def test_an_application_may_end_while_its_threads_wait_for_answers(application):
    code = """
class Told(logging.Handler):
    running = threading.Event()
    def emit(self, record):
        if record.getMessage() == "running": self.running.set()
logging.getLogger("neuropod_ope.model").addHandler(Told())
logging.getLogger("neuropod_ope.model").setLevel("INFO")
load()
for _ in range(3):
    threading.Thread(target=call, args=(1,), daemon=True).start()
Told.running.wait()
print("ends")
"""
    assert application(code) == ["ends"]


def test_what_an_application_does_at_its_exit_may_use_models(application):
    assert application("import atexit\natexit.register(lambda: print(call(2)))\nload()\n") == ["[4.0, 4.0]"]


def test_no_zombies_whatever_died(application):
    code = """
import contextlib, psutil
load()
for _ in range(3):
    with contextlib.suppress(WorkerDied):
        call(7)
    call(2)
    load()
    models.pop().close()
print([child.status() for child in psutil.Process().children()].count("zombie"), len(psutil.Process().children()))
"""
    assert application(code) == ["0 1"]


def test_in_a_strict_application_nothing_is_warned_of_whatever_dies(application):
    code = """
import contextlib, gc
logging.disable()
load()
for _ in range(3):
    with contextlib.suppress(WorkerDied):
        call(7)
    call(2)
models[0].close()
models.clear()
gc.collect()
load()
call(2)
print("well")
"""
    assert application(code, "-X", "dev", "-W", "error") == ["well"]


def test_nothing_is_looked_for_on_the_PATH(application, tmp_path):
    """Whatever lies there under a name that could be meant."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python", "python3", "neuropod_worker", "neuropod-worker", "neuropod_multiprocess_worker"):
        (folder / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        (folder / name).chmod(0o755)
    code = f"os.environ['PATH'] = {str(folder)!r}\nload()\nprint(call(2))\n"
    assert application(code) == ["[4.0, 4.0]"]
    assert not (tmp_path / "started").exists()
