"""Applications that are killed, end, fork, have several processes or threads, or habits; and what they leave."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from left_behind import wait_none_marked
from sample_packages import python_neuropod

pytestmark = pytest.mark.workers

MODEL = """
import ctypes, os, time
def load(data_dir):
    def run(x):
        if x[0] == 1:
            print("running", flush=True); time.sleep(1000)
        if x[0] == -1:
            print("running", flush=True); ctypes.PyDLL(None).sleep(1000)  # in C, with the GIL held
        if x[0] == -2 and os.fork() == 0:
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
def start(tmp_path, marked, mark):
    """Starts a program with this code after APPLICATION; none of its workers may outlive it."""
    started = []

    def start(code, *options, model=MODEL):
        folder = tmp_path / f"application{len(started)}"
        folder.mkdir()
        program = folder / "application.py"
        program.write_text(APPLICATION + code)
        package = python_neuropod(folder, {"main.py": model})
        started.append(
            subprocess.Popen(
                [sys.executable, *options, program, package, tmp_path / "cache", mark],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
    wait_none_marked(marked)


@pytest.fixture
def application(start):
    """Runs a program to its end, which is a good one, and gives its lines."""

    def run(code, *options):
        process = start(code, *options)
        said, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert "Exception ignored" not in errors
        assert not (options and errors), errors
        return said.splitlines()

    return run


def worker_of(process):
    return psutil.Process(int(process.stdout.readline()))


LOAD_AND_TELL = "load()\nprint(models[0].workers[0].pid, flush=True)\n"


@pytest.mark.parametrize(
    "then",
    [
        "sys.stdin.read()",
        "call(1)",
        "call(-1)",
        "call(-2); call(1)",
        "[threading.Thread(target=call, args=(1,)).start() for _ in range(3)]; call(1)",
        "[call(0) for _ in iter(int, 1)]",
    ],
    ids=["idle", "running", "stuck in C", "with a forked child", "many callers", "under load"],
)
def test_a_killed_application_takes_its_worker_and_all_that_it_forked_along(start, then):
    logs = "logging.basicConfig(level='INFO', format='%(message)s', stream=sys.stdout)\n"
    process = start(LOAD_AND_TELL + logs + then)
    worker = worker_of(process)
    family = [worker]
    if "call(1)" in then or "call(-1)" in then:
        while "running" not in process.stdout.readline():
            pass
        family += worker.children(recursive=True)
        assert len(family) == (2 if "call(-2)" in then else 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_stopped_worker_dies_with_its_application_too(start):
    process = start(LOAD_AND_TELL + "sys.stdin.read()")
    worker = worker_of(process)
    worker.suspend()
    process.kill()
    worker.wait(10)


def test_an_application_killed_while_it_loads_leaves_no_worker(start):
    code = "import time\nprint('loading', flush=True)\ntime.sleep(1000)\n"
    process = start("load()", model=code)
    while not (workers := psutil.Process(process.pid).children()):
        os.sched_yield()
    process.kill()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


@pytest.mark.parametrize("ending", ["", "sys.exit(5)", "raise ValueError", "os._exit(5)", "models[0].close()"])
def test_an_application_that_ends_is_not_delayed_and_leaves_nothing(start, ending):
    process = start(LOAD_AND_TELL + "call(4)\n" + ending)
    worker = worker_of(process)
    process.wait(30)
    worker.wait(10)
    assert "Exception ignored" not in process.stderr.read()


@pytest.mark.parametrize(
    "habit",
    [
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "threading.Thread(target=lambda: [os.waitpid(-1, 0) for _ in iter(int, 1)], daemon=True).start()",
    ],
    ids=["ignores SIGCHLD", "waits for any child"],
)
def test_where_the_host_reaps_our_children_their_status_is_unknown_and_never_zero(start, habit):
    code = f"""
{habit}
load()
try:
    call(7)
except WorkerDied as error:
    print(error.signal, error.exit_code, "unknown" in str(error))
print(call(4))
"""
    process = start(code)
    said, errors = process.communicate(timeout=60)
    outcome, answer = said.splitlines()
    assert answer == "[8.0, 8.0]", errors
    # A host's thread may lose the race for the status; then it is the true one.
    assert outcome in ("None None True", "11 None False"), errors


def test_a_forked_child_gets_a_clear_error_and_the_parents_model_goes_on(application):
    code = """
import gc
load()
print(call(4))
for _ in range(3):
    child = os.fork()
    if child == 0:
        try:
            call(4)
        except HandleClosed as error:
            assert "forked" in str(error)
            with Runtime(cache_dir=cache, environ_allow=[mark]) as again:  # and it can load the model for itself
                models.append(again.load(path, out_of_process=True))
                assert call(4) == [8.0, 8.0]
            models.clear()
            gc.collect()
            sys.exit(3)
        os._exit(4)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), call(2), models[0].workers[0].restarts)
"""
    assert application(code) == ["[8.0, 8.0]"] + ["3 [4.0, 4.0] 0"] * 3


def test_a_forked_child_that_lives_on_does_not_keep_the_worker_alive(start):
    process = start(LOAD_AND_TELL + "child = os.fork()\nif child: print(child, flush=True)\nsys.stdin.read()")
    worker = worker_of(process)
    child = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.wait()
    worker.wait(10)
    assert child.is_running()
    child.kill()


def test_a_keyboard_interrupt_in_a_call_leaves_a_working_handle(application):
    code = """
import signal
load()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
logging.getLogger("neuropod_ope.supervisor").disabled = True
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
class Interrupt(logging.Handler):
    def emit(self, record):
        if record.getMessage() == "running": interrupt()
logging.getLogger().addHandler(Interrupt())  # behind the one that prints
try:
    call(1)
except KeyboardInterrupt:
    print("interrupted")
os.kill(models[0].workers[0].pid, 9)
print(call(4))
"""
    assert application(code) == ["running", "interrupted", "[8.0, 8.0]"]


def test_the_application_keeps_its_signals_environment_and_path(application):
    code = """
import signal
def state():
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return handlers, dict(os.environ), list(sys.path), os.getcwd(), logging.root.handlers, sys.getswitchinterval()
before = state()
with Runtime(cache_dir=cache, environ_allow=[mark]) as runtime:
    here, there = (runtime.load(path, out_of_process=where) for where in (False, True))
    here.infer({"x": np.zeros(3, np.float32)}), there.infer({"x": np.zeros(3, np.float32)})
print(state() == before)
"""
    assert application(code) == ["True"]


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
with Runtime(cache_dir=cache, environ_allow=[mark]) as runtime:
    models.append(runtime.load(path, out_of_process=True))
    call(2)
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
