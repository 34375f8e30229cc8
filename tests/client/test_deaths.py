"""Workers that die, at several moments: what the caller sees, and that nothing is left."""

import contextlib
import logging
import os
import pickle
import signal
import threading

import numpy as np
import psutil
import pytest

from neuropod_ope import HandleClosed, InferTimeout, ModelError, ProtocolViolation, WorkerDied
from neuropod_ope.client.connection import Connection
from neuropod_ope.client.handshake import Launch

pytestmark = pytest.mark.workers

NUMBERS = {"x": ("float64", None)}
OUT = {"y": ("float64", None)}

# What the first element of x makes the model do.
OBEDIENT = """
import ctypes, os, signal, subprocess, sys, threading, time
def load(data_dir):
    def run(x, flag=""):
        order = str(flag)
        if order == "exit": os._exit(7)
        if order == "segfault": ctypes.string_at(0)
        if order == "abort": sys.stderr.write("the last words\\n"); os.abort()
        if order.startswith("kill"): os.kill(os.getpid(), signal.SIGKILL)
        if order.startswith("touch"):
            open(order[6:], "w").close()
            time.sleep(1000)
        if order.startswith("stuck"):  # in C, with the GIL held
            open(order[6:], "w").close()
            ctypes.PyDLL(None).sleep(1000)
        if order.startswith("fork"):
            if os.fork() == 0:
                time.sleep(1000)
        if order == "junk":
            import gc
            server = next(thing for thing in gc.get_objects() if type(thing).__name__ == "Server")
            server._replies.put(b"junk")
            server._reply_bell.ring()
            time.sleep(1000)
        if order == "close descriptors":
            os.closerange(0, 100)
        if order == "close output":
            os.close(1); os.close(2)
        if order == "print":
            sys.stderr.write("x" * 3_000_000 + "\\n"); sys.stdout.write("y\\n" * 100_000)
        return {"y": x * 2}
    return run
"""
INPUTS = {**NUMBERS, "flag": ("string", None)}


@pytest.fixture
def model(load_out_of_process):
    return load_out_of_process(OBEDIENT, INPUTS, OUT)


def works(model):
    return model.infer({"x": np.arange(3.0)})["y"].tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("order", "number", "code", "says"),
    [
        ("exit", None, 7, "exited with status 7"),
        ("segfault", signal.SIGSEGV, None, "SIGSEGV"),
        ("abort", signal.SIGABRT, None, "the last words"),
        ("kill", signal.SIGKILL, None, "SIGKILL"),
    ],
)
def test_a_call_whose_worker_dies_says_how_and_the_next_call_works(model, order, number, code, says):
    pid = model.workers[0].pid
    with pytest.raises(WorkerDied, match=says) as caught:
        model.infer({"x": [1.0], "flag": order})
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.pid, error.signal, error.exit_code, error.model) == (pid, number, code, "sample")
    assert error.request is not None
    assert error.retryable
    assert works(model)
    assert model.workers[0].pid != pid
    assert model.workers[0].restarts == 1


def test_the_last_lines_of_its_stderr_are_in_the_error(model):
    with pytest.raises(WorkerDied) as caught:
        model.infer({"x": [1.0], "flag": "abort"})
    assert "the last words" in caught.value.stderr
    assert any("in run" in line for line in caught.value.stderr)  # faulthandler's stack


def test_a_worker_killed_while_idle_is_replaced_by_the_next_call(model):
    for _ in range(5):
        os.kill(model.workers[0].pid, signal.SIGKILL)
        assert works(model)
    assert model.workers[0].restarts == 5


def test_large_calls_work_after_a_death(model):
    large = np.ones(1_000_000)
    for _ in range(3):
        assert model.infer({"x": large})["y"].sum() == 2_000_000
        with pytest.raises(WorkerDied):
            model.infer({"x": large, "flag": "kill"})


def test_all_callers_of_a_dying_worker_are_told_at_once(model, tmp_path):
    ended = []

    def call(flag):
        try:
            model.infer({"x": [1.0], "flag": flag})
            ended.append("answered")
        except WorkerDied:
            ended.append("died")

    started = tmp_path / "started"
    threads = [threading.Thread(target=call, args=(f"touch {started}",))]
    threads += [threading.Thread(target=call, args=("",)) for _ in range(5)]
    threads[0].start()
    wait_for(started)
    for thread in threads[1:]:
        thread.start()
    os.kill(model.workers[0].pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    # The one that was being run has failed; whatever the worker had not begun may be answered by the next one.
    assert len(ended) == 6
    assert "died" in ended
    assert works(model)


def wait_for(path):
    """Until the model has made a file: real time passes in another process, and nothing tells us but the file."""
    while not path.exists():
        os.sched_yield()


def test_a_worker_that_cannot_boot_says_why(load_out_of_process, tmp_path):
    false = tmp_path / "python"
    false.write_text("#!/bin/sh\necho 'no python here' >&2\nexit 9\n")
    false.chmod(0o755)
    with pytest.raises(WorkerDied, match="no python here") as caught:
        Connection(
            Launch(false, (), dict(os.environ)), "m", load_out_of_process.runtime._loop, logging.getLogger(), None
        )
    assert caught.value.exit_code == 9


def test_a_worker_killed_while_loading_says_so(load_out_of_process):
    code = "import os\ndef load(data_dir):\n    os.kill(os.getpid(), 9)\n"
    with pytest.raises(WorkerDied, match=r"SIGKILL.*while it loaded the model"):
        load_out_of_process(code, NUMBERS, OUT)


def test_a_call_that_takes_too_long_is_a_timeout_and_a_fresh_worker_comes(model, tmp_path):
    for order in ("touch", "stuck"):
        pid = model.workers[0].pid
        with pytest.raises(InferTimeout, match=rf"pid {pid}\) was killed") as caught:
            model.infer({"x": [1.0], "flag": f"{order} {tmp_path / order}"}, timeout=0.3)
        assert isinstance(caught.value, TimeoutError)
        assert not psutil.pid_exists(pid)
        assert works(model)


def test_a_load_that_takes_too_long_is_a_timeout(load_out_of_process):
    code = "import time\ntime.sleep(1000)\n"
    model = load_out_of_process(code, NUMBERS, OUT, lazy=True)
    with pytest.raises(InferTimeout):
        model.load(timeout=0.3)


def test_a_timeout_of_a_queued_call_does_not_kill_anothers_work(model, tmp_path):
    started, release = tmp_path / "started", tmp_path / "release"
    slow = load_slow(model, started, release)
    wait_for(started)
    with pytest.raises(InferTimeout, match="not been started and was cancelled"):
        slow["model"].infer({"x": [1.0]}, timeout=0.05)
    release.touch()
    slow["thread"].join()
    assert slow["answer"] == [2.0]
    assert slow["model"].workers[0].restarts == 0
    assert slow["model"].infer({"x": [3.0]})["y"] == [6]


def load_slow(model, started, release):
    """Runs a call in a thread that goes on until a file is there."""
    result = {"model": model}

    def call():
        result["answer"] = model.infer({"x": [1.0], "flag": f"wait {started} {release}"})["y"].tolist()

    result["thread"] = threading.Thread(target=call)
    result["thread"].start()
    return result


OBEDIENT = OBEDIENT.replace(
    '        if order == "junk":',
    """        if order.startswith("wait"):
            _, started, release = order.split()
            open(started, "w").close()
            while not os.path.exists(release):
                time.sleep(0.001)
        if order == "junk":""",
)


def test_a_worker_that_breaks_the_protocol_is_killed_and_replaced(model):
    pid = model.workers[0].pid
    with pytest.raises(ProtocolViolation, match="4 bytes"):
        model.infer({"x": [1.0], "flag": "junk"})
    assert works(model)
    assert not psutil.pid_exists(pid)


def test_what_a_model_forked_dies_with_its_worker(model):
    model.infer({"x": [1.0], "flag": "fork"})
    worker = psutil.Process(model.workers[0].pid)
    (child,) = worker.children()
    with pytest.raises(WorkerDied):
        model.infer({"x": [1.0], "flag": "kill"})
    child.wait(10)


def test_a_model_that_closes_all_descriptors_costs_its_worker_only(model):
    with pytest.raises(WorkerDied):
        for _ in range(1000):
            with contextlib.suppress(ModelError):  # of a worker that cannot grow its memory any more
                model.infer({"x": [1.0], "flag": "close descriptors"})
    assert works(model)


def test_a_model_that_closes_its_output_goes_on_and_costs_no_cpu(model):
    model.infer({"x": [1.0], "flag": "close output"})
    before = psutil.Process().cpu_times()
    assert all(works(model) for _ in range(100))
    threads = {thread.id: thread for thread in psutil.Process().threads()}
    assert len(threads) >= 2
    assert works(model)
    assert psutil.Process().cpu_times().user - before.user < 30  # a spinning supervisor would go on for ever


def test_a_model_may_print_megabytes(model):
    model.infer({"x": [1.0], "flag": "print"}, timeout=60)
    assert works(model)


def test_close_during_a_call_ends_it(model, tmp_path):
    started = tmp_path / "started"
    caught = []

    def call():
        try:
            model.infer({"x": [1.0], "flag": f"touch {started}"})
        except HandleClosed as error:
            caught.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    wait_for(started)
    model.close()
    thread.join()
    assert caught == ["model 'sample' was closed during the call"]


def test_an_exception_of_the_model_does_not_cost_the_worker(load_out_of_process):
    model = load_out_of_process("def load(d):\n    return lambda x: {'y': 1 / x}\n", {"x": ("int64", ())}, OUT)
    pid = model.workers[0].pid
    code = "def load(d):\n    def run(x): raise SystemExit(3)\n    return run\n"
    exiting = load_out_of_process(code, NUMBERS, OUT)
    with pytest.raises(ModelError, match="SystemExit"):
        exiting.infer({"x": [1.0]})
    assert model.workers[0].pid == pid


def test_one_models_death_is_unknown_to_another(load_out_of_process):
    dying, living = (load_out_of_process(OBEDIENT, INPUTS, OUT) for _ in range(2))
    pid = living.workers[0].pid
    for _ in range(3):
        with pytest.raises(WorkerDied):
            dying.infer({"x": [1.0], "flag": "segfault"})
        assert works(living)
    assert living.workers[0].pid == pid
