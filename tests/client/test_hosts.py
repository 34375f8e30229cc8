"""The application that loads models: killed, ended, forked, and with habits of its own."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from sample_packages import DOUBLING, python_neuropod

pytestmark = pytest.mark.workers

STUCK = """
import ctypes, os, time
def load(data_dir):
    def run(x):
        if x[0] == 1:
            print("running", flush=True); time.sleep(1000)
        if x[0] == 2:
            print("running", flush=True); ctypes.PyDLL(None).sleep(1000)  # in C, with the GIL held
        if x[0] == 3 and os.fork() == 0:
            print("running", flush=True); time.sleep(1000)
        return {"y": x * 2}
    return run
"""

HOST = """
import logging, os, sys, threading
import numpy as np
from neuropod_ope import Runtime, load_neuropod
path, cache = sys.argv[1:3]
runtime = Runtime(cache_dir=cache)
model = runtime.load(path, out_of_process=True)
def call(number):
    return model.infer({"x": np.full(3, number, np.float32)})["y"].tolist()
"""


@pytest.fixture
def host(tmp_path):
    """Starts an application with this code after HOST's; ``model`` is what it loads."""
    started = []

    def start(code, model=DOUBLING, options=()):
        folder = tmp_path / f"{len(started)}"
        folder.mkdir()
        package = python_neuropod(folder, {"main.py": model})
        process = subprocess.Popen(
            [sys.executable, *options, "-c", HOST + code, package, tmp_path / "cache"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def worker_of(process):
    return psutil.Process(int(process.stdout.readline()))


TELL = "print(model.workers[0].pid, flush=True)\n"


@pytest.mark.parametrize(
    "then",
    [
        "sys.stdin.read()",
        "call(1)",
        "call(2)",
        "call(3); call(1)",
        "[threading.Thread(target=call, args=(1,)).start() for _ in range(3)]; call(1)",
        "[call(0) for _ in iter(int, 1)]",
    ],
    ids=["idle", "running", "stuck in C", "with a forked child", "many callers", "under load"],
)
def test_a_killed_application_takes_its_worker_and_all_that_it_forked_along(host, then):
    logs = "logging.basicConfig(level='INFO', format='%(message)s', stream=sys.stdout)\n"
    process = host(logs + TELL + then, STUCK)
    worker = worker_of(process)
    family = [worker]
    if "call(1)" in then or "call(2)" in then:
        while "running" not in process.stdout.readline():
            pass
        family += worker.children(recursive=True)
        assert len(family) == (2 if "call(3)" in then else 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_stopped_worker_dies_with_its_application_too(host):
    process = host(TELL + "sys.stdin.read()")
    worker = worker_of(process)
    worker.suspend()
    process.kill()
    worker.wait(10)


def test_an_application_killed_while_it_loads_leaves_no_worker(host):
    code = "import time\nprint('loading', flush=True)\ntime.sleep(1000)\n"
    process = host("", code)
    while not (workers := psutil.Process(process.pid).children()):
        os.sched_yield()
    process.kill()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


@pytest.mark.parametrize("ending", ["", "sys.exit(5)", "raise ValueError", "os._exit(5)", "model.close()"])
def test_an_application_that_ends_is_not_delayed_and_leaves_nothing(host, ending):
    process = host("call(1)\n" + TELL + ending)
    worker = worker_of(process)
    process.wait(30)
    worker.wait(10)
    assert "Exception ignored" not in process.stderr.read()


def test_a_strict_application_sees_no_warning(host):
    code = "logging.getLogger('neuropod_ope').addHandler(logging.NullHandler())  # it tells of the replaced worker\n"
    code += "for n in range(3): call(n)\nos.kill(model.workers[0].pid, 9)\ncall(1)\nmodel.close(); runtime.close()\n"
    process = host(code, options=["-X", "dev", "-W", "error"])
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_without_a_close_there_is_no_warning_either(host):
    process = host("call(1)\n", options=["-X", "dev", "-W", "error"])
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    "habit",
    [
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "threading.Thread(target=lambda: [os.waitpid(-1, 0) for _ in iter(int, 1)], daemon=True).start()",
    ],
    ids=["ignores SIGCHLD", "waits for any child"],
)
def test_where_the_host_reaps_our_children_their_status_is_unknown_and_never_zero(host, habit):
    code = f"""
{habit}
from neuropod_ope import WorkerDied
try:
    call(7)
except WorkerDied as error:
    print(error.signal, error.exit_code, "unknown" in str(error))
print(call(1))
"""
    model = "import os\ndef load(d):\n    def run(x):\n        if x[0] == 7: os.kill(os.getpid(), 11)\n"
    model += "        return {'y': x * 2}\n    return run\n"
    process = host(code, model)
    said, errors = process.communicate(timeout=60)
    outcome, answer = said.splitlines()
    assert answer == "[2.0, 2.0, 2.0]", errors
    # A host's thread may lose the race for the status; then it is the true one.
    assert outcome in ("None None True", "11 None False"), errors


def test_a_forked_child_gets_a_clear_error_and_the_parents_model_goes_on(host):
    code = """
import gc
from neuropod_ope import HandleClosed
print(call(1))
for _ in range(3):
    child = os.fork()
    if child == 0:
        try:
            call(1)
        except HandleClosed as error:
            assert "forked" in str(error)
            with Runtime(cache_dir=cache) as again:  # and it can load the model for itself
                model = again.load(path, out_of_process=True)
                assert call(4) == [8.0, 8.0, 8.0]
            model = runtime = None
            gc.collect()
            sys.exit(3)
        os._exit(4)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), call(2), model.workers[0].restarts)
"""
    said, errors = host(code).communicate(timeout=60)
    assert said.splitlines() == ["[2.0, 2.0, 2.0]"] + ["3 [4.0, 4.0, 4.0] 0"] * 3, errors


def test_a_forked_child_that_lives_on_does_not_keep_the_worker_alive(host):
    process = host(TELL + "child = os.fork()\nif child: print(child, flush=True)\nsys.stdin.read()")
    worker = worker_of(process)
    child = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.wait()
    worker.wait(10)
    assert child.is_running()
    child.kill()


def test_a_keyboard_interrupt_in_a_call_leaves_a_working_handle(host):
    code = """
import signal
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
os.kill(model.workers[0].pid, 9)
print(call(4))
"""
    said, errors = host(code, STUCK).communicate(timeout=60)
    assert said.splitlines() == ["running", "interrupted", "[8.0, 8.0, 8.0]"], errors


def test_models_load_and_run_from_any_thread(host):
    code = """
import concurrent.futures
def one(number):
    with runtime.load(path, out_of_process=True) as mine:
        return mine.infer({"x": np.full(3, number, np.float32)})["y"].tolist()
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(list(pool.map(one, range(8))) == [[2.0 * n] * 3 for n in range(8)])
"""
    said, errors = host(code).communicate(timeout=60)
    assert said == "True\n", errors


def test_the_application_keeps_its_signals_environment_and_path(host):
    code = """
import signal
def state():
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return handlers, dict(os.environ), list(sys.path), os.getcwd(), logging.root.handlers, sys.getswitchinterval()
before = state()
with runtime.load(path, out_of_process=False) as here, runtime.load(path, out_of_process=True) as there:
    here.infer({"x": np.ones(3, np.float32)}), there.infer({"x": np.ones(3, np.float32)})
print(state() == before)
"""
    said, errors = host(code).communicate(timeout=60)
    assert said == "True\n", errors
