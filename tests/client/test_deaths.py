"""Workers that die, at several moments: what the caller sees, and that nothing is left."""

import logging
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from neuropod_ope import HandleClosed, InferTimeout, ProtocolViolation, WorkerDied
from neuropod_ope.client.connection import Connection
from neuropod_ope.client.handshake import Launch
from neuropod_worker.wire import messages as m
from neuropod_worker.wire.codec import encode

pytestmark = pytest.mark.workers

NUMBERS = {"x": ("float64", None)}
OUT = {"y": ("float64", None)}

# What the first element of x makes the model do.
OBEDIENT = """
import ctypes, os, signal, subprocess, sys, threading, time
def load(data_dir):
    def run(x, flag=""):
        order = str(flag)
        if order == "abort": sys.stderr.write("the last words\\n"); os.abort()
        if order.startswith("kill"): os.kill(os.getpid(), signal.SIGKILL)
        if order == "hang": time.sleep(1000)
        if order == "stuck": ctypes.PyDLL(None).sleep(1000)  # in C, with the GIL held
        if order.startswith("gate"):
            open(order[5:] + ".begun", "w").close()
            while not os.path.exists(order[5:]): time.sleep(0.001)
        if order.startswith("fork"):
            if os.fork() == 0:
                time.sleep(1000)
        if order.startswith("say"):
            import gc
            server = next(thing for thing in gc.get_objects() if type(thing).__name__ == "Server")
            server._replies.put(bytes.fromhex(order[4:]))
            server._reply_bell.ring()
            time.sleep(1000)
        if order == "close output":
            os.close(1); os.close(2)
        return {"y": x * 2}
    return run
"""
INPUTS = {**NUMBERS, "flag": ("string", None)}


@pytest.fixture
def model(load_in_workers):
    return load_in_workers(OBEDIENT, INPUTS, OUT)


def works(model):
    return model.infer({"x": np.arange(3.0)})["y"].tolist() == [0, 2, 4]


def called_in_a_thread(model, gate):
    """The future of a call that another thread waits for, and that runs until the gate is opened."""
    executor = ThreadPoolExecutor(1)
    future = executor.submit(model.infer, {"x": [1.0], "flag": f"gate {gate.path}"})
    executor.shutdown(wait=False)
    gate.wait_begun()
    return future


def test_the_last_lines_of_its_stderr_are_in_the_error(model):
    with pytest.raises(WorkerDied) as caught:
        model.infer({"x": [1.0], "flag": "abort"})
    assert "the last words" in caught.value.stderr
    assert any("in run" in line for line in caught.value.stderr)  # faulthandler's stack


def test_the_log_says_whose_stacks_it_shows_and_a_record_ends_with_its_sentence(model, caplog):
    pid = model.workers[0].pid
    with pytest.raises(WorkerDied):
        model.infer({"x": [1.0], "flag": "abort"})
    assert works(model)  # callers hear of a death before the log does: the restart is logged after it
    model.close()
    lines = [record.getMessage() for record in caplog.records]
    assert f"neuropod_ope.model.sample (pid {pid}): Fatal Python error: Aborted" in lines
    deaths = [line for line in lines if "SIGABRT" in line]
    assert deaths and all(line.endswith("while it ran a call") for line in deaths)


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


def test_all_callers_of_a_dying_worker_are_told_at_once(model, gate):
    running = called_in_a_thread(model, gate)
    ended = []

    def call():
        try:
            model.infer({"x": [1.0]})
            ended.append("answered")
        except WorkerDied:
            ended.append("died")

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    os.kill(model.workers[0].pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert isinstance(running.exception(), WorkerDied)
    assert len(ended) == 5, "whatever the worker had not begun may be answered by the next one"
    assert works(model)


@pytest.mark.parametrize("portable", [False, True])
def test_a_worker_that_cannot_boot_says_why(load_out_of_process, tmp_path, portable):
    false = program(tmp_path, "echo 'no python here' >&2; exit 9")
    with pytest.raises(WorkerDied, match="no python here") as caught:
        connect(load_out_of_process, false, portable=portable)
    assert caught.value.exit_code == 9


@pytest.mark.parametrize("portable", [False, True])
def test_a_worker_that_does_not_start_in_time_is_a_timeout(load_out_of_process, tmp_path, portable):
    with pytest.raises(InferTimeout, match="did not start in time"):
        connect(load_out_of_process, program(tmp_path, "sleep 1000"), portable=portable, timeout=0.2)


def test_a_worker_that_ends_before_its_start_returns_does_not_hold_up_the_close(load_out_of_process, tmp_path):
    runtime = load_out_of_process.runtime
    call = runtime._loop.call
    others = psutil.Process().children()

    def call_and_wait_for_the_death(command):
        call(command)
        while set(psutil.Process().children()) - set(others):  # reaped in the supervisor's thread
            os.sched_yield()

    runtime._loop.call = call_and_wait_for_the_death
    with pytest.raises(WorkerDied):
        connect(load_out_of_process, program(tmp_path, "exit 9"), portable=False)
    del runtime._loop.call
    runtime.close()


def program(tmp_path, script):
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def connect(loader, python, portable, timeout=None):
    launch = Launch(python, (), dict(os.environ), portable=portable)
    deadline = None if timeout is None else time.monotonic() + timeout
    return Connection(launch, "m", loader.runtime._loop, logging.getLogger(), deadline, lambda process: None)


def test_close_during_a_start_does_not_wait_for_it(load_out_of_process, gate):
    model = load_out_of_process(gate.code, NUMBERS, OUT, lazy=True)
    caught = []

    def load():
        try:
            model.load()
        except HandleClosed as error:
            caught.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    gate.wait_begun()
    model.close()
    thread.join()
    assert len(caught) == 1
    with pytest.raises(HandleClosed):
        model.infer({"x": [1.0]})


def test_any_number_of_calls_may_time_out_behind_a_busy_one(model, gate):
    slow = called_in_a_thread(model, gate)
    outcomes = []

    def call():
        try:
            outcomes.append(model.infer({"x": [1.0]}, timeout=0.05))
        except Exception as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=call) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate.open()
    assert slow.result()["y"] == [2]
    assert outcomes == [InferTimeout] * 50
    assert works(model)
    assert model.workers[0].restarts == 0


def test_timeouts_between_the_calls_of_others_harm_none_of_them(model):
    stop = threading.Event()
    outcomes = []

    def busy():
        while not stop.is_set():
            outcomes.append(outcome(model, "", None))

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    impatient = [outcome(model, "", 0.0) for _ in range(100)]
    stop.set()
    for thread in threads:
        thread.join()
    assert set(outcomes) == {"answered"}
    assert set(impatient) <= {"answered", "InferTimeout"}


def test_calls_that_a_dying_worker_had_not_begun_are_answered_by_the_next(model, gate):
    slow = called_in_a_thread(model, gate)
    answers = []
    hang = threading.Thread(target=lambda: answers.append(outcome(model, "hang", 1.0)))
    hang.start()
    others = [threading.Thread(target=lambda: answers.append(outcome(model, "", None))) for _ in range(5)]
    for thread in others:
        thread.start()
    gate.open()
    for thread in [hang, *others]:
        thread.join()
    assert slow.result()["y"] == [2]
    assert answers.count("answered") == 5
    assert answers.count("InferTimeout") == 1


def outcome(model, flag, timeout):
    try:
        model.infer({"x": [1.0], "flag": flag}, timeout=timeout)
        return "answered"
    except Exception as error:
        return type(error).__name__


def test_a_call_that_takes_too_long_is_a_timeout_and_a_fresh_worker_comes(model):
    for order in ("hang", "stuck"):
        pid = model.workers[0].pid
        with pytest.raises(InferTimeout, match=rf"pid {pid}\) was killed") as caught:
            model.infer({"x": [1.0], "flag": order}, timeout=0.3)
        assert isinstance(caught.value, TimeoutError)
        assert not psutil.pid_exists(pid)
        assert works(model)


def test_a_load_that_takes_too_long_is_a_timeout(load_out_of_process):
    code = "import time\ntime.sleep(1000)\n"
    model = load_out_of_process(code, NUMBERS, OUT, lazy=True)
    with pytest.raises(InferTimeout):
        model.load(timeout=0.3)


def test_a_timeout_of_a_queued_call_does_not_kill_anothers_work(model, gate):
    slow = called_in_a_thread(model, gate)
    with pytest.raises(InferTimeout, match="cancelled before the worker began it"):
        model.infer({"x": [1.0]}, timeout=0.05)
    gate.open()
    assert slow.result()["y"] == [2]
    assert model.workers[0].restarts == 0
    assert model.infer({"x": [3.0]})["y"] == [6]


# What a worker may not say to a client that waits for the result of request 2.
FORBIDDEN = {
    "junk": b"junk",
    "a handshake": encode(m.Refused(m.PROTOCOL_VERSION, "why")),
    "a request": encode(m.Cancel(1, 1, 2, 0, (), ())),
    "another's reply": encode(m.Unloaded(1, 1, 2, 0, (), (), 0, 0, 0, 0)),
    "an unknown request": encode(m.Failed(1, 1, 99, 0, (), (), 0, 0, 0, 0, m.MODEL, "", "", "", None)),
    "an unknown frame": encode(m.Result(1, 1, 2, 0, (), (), 0, 0, 0, 0, 77, None)),
    "a release of what was not lent": encode(m.Failed(1, 1, 2, 0, (55,), (), 0, 0, 0, 0, m.MODEL, "", "", "", None)),
}


@pytest.mark.parametrize("message", FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_worker_that_breaks_the_protocol_is_killed_and_replaced(model, message):
    pid = model.workers[0].pid
    with pytest.raises(ProtocolViolation):
        model.infer({"x": [1.0], "flag": "say " + message.hex()})
    assert works(model)
    assert not psutil.pid_exists(pid)


def test_what_a_model_forked_dies_with_its_worker(model):
    model.infer({"x": [1.0], "flag": "fork"})
    worker = psutil.Process(model.workers[0].pid)
    (child,) = worker.children()
    with pytest.raises(WorkerDied):
        model.infer({"x": [1.0], "flag": "kill"})
    child.wait(10)


def test_a_model_that_closes_its_output_goes_on_and_costs_no_cpu(model):
    model.infer({"x": [1.0], "flag": "close output"})
    (supervisor,) = (thread for thread in threading.enumerate() if thread.name == "neuropod-supervisor")
    clock = time.pthread_getcpuclockid(supervisor.ident)
    its, ours = time.clock_gettime(clock), time.thread_time()
    while time.thread_time() - ours < 0.2:
        assert works(model)
    assert time.clock_gettime(clock) - its < 0.05, "one that spins takes about as much as we do"


def test_close_during_a_call_ends_it(model, gate):
    running = called_in_a_thread(model, gate)
    model.close()
    with pytest.raises(HandleClosed, match="model 'sample' was closed during the call"):
        running.result()
