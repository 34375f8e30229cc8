"""Calls and loads that are too late: what the error tells, and clocks and processes that stand still."""

import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from sample_packages import python_neuropod

import neuropod_ope
import neuropod_worker
from neuropod_ope import HandleClosed, InferTimeout

pytestmark = pytest.mark.workers

IN = {"x": ("float64", None), "order": ("string", ())}
OUT = {"y": ("float64", None)}

HANGING = """
import ctypes, os, resource, signal, sys, threading, time
def spin_for_ever():
    while True: pass
def load(data_dir):
    def run(x, order=""):
        order, _, path = str(order).partition(" ")
        if order == "spin": spin_for_ever()
        if order == "stuck": ctypes.PyDLL(None).sleep(1000)  # with the GIL held
        if order == "threads":
            threading.Thread(target=spin_for_ever, daemon=True).start()
            time.sleep(1000)
        if order == "deaf":
            signal.signal(signal.SIGABRT, signal.SIG_IGN)
            spin_for_ever()
        if order == "closed":
            os.close(2)
            spin_for_ever()
        if order == "core":
            os.chdir(path)
            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
            spin_for_ever()
        if order == "gate":
            open(path + ".begun", "w").close()
            while not os.path.exists(path): time.sleep(0.001)
        return {"y": x * 2}
    return run
"""


@pytest.fixture
def model(load_in_workers):
    return load_in_workers(HANGING, IN, OUT)


def call(model, order="", **options):
    return model.infer({"x": [1.0], "order": order}, **options)["y"].tolist()


def late(model, order):
    with pytest.raises(
        InferTimeout, match=r"its worker \(pid \d+\) was killed\nIt was doing this:\n|was killed$"
    ) as caught:
        call(model, order, timeout=0.3)
    assert call(model) == [2]
    return pickle.loads(pickle.dumps(caught.value))


@pytest.mark.parametrize(
    ("order", "shows"),
    [
        ("spin", "in spin_for_ever"),
        ("stuck", "in run"),
        ("threads", "in spin_for_ever"),
        ("closed", "in spin_for_ever"),
    ],
)
def test_the_error_of_a_late_call_shows_where_the_model_was(model, order, shows):
    error = late(model, order)
    assert shows in error.stacks
    assert "main.py" in error.stacks
    assert error.stacks.splitlines()[0].strip() in str(error)
    assert error.model == "sample"


def test_a_stopped_worker_tells_its_stacks_too(model):
    worker = psutil.Process(model.workers[0].pid)
    # Asleep: between two bytecodes the stacks can be incomplete.
    while model.health().progress[0].step != "waiting" or worker.status() != psutil.STATUS_SLEEPING:
        os.sched_yield()
    worker.suspend()
    error = late(model, "")
    assert "in serve" in error.stacks


def test_a_worker_that_does_not_answer_the_question_is_killed_all_the_same(model):
    assert late(model, "deaf").stacks == ""


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="no core dumps here")
def test_no_core_dump_is_left_for_a_late_call(model, tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    late(model, f"core {folder}")
    assert not list(folder.iterdir())


def test_a_close_ends_what_hangs_and_whoever_waits(model, gate):
    outcomes = []

    def wait():
        try:
            outcomes.append(call(model, f"gate {gate.path}", timeout=1000))
        except HandleClosed:
            outcomes.append("closed")

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    gate.wait_begun()
    model.close()
    for thread in threads:
        thread.join()
    assert outcomes == ["closed"] * 3


# ---- standing still


def test_a_worker_that_is_stopped_and_continued_goes_on(model, gate):
    worker = psutil.Process(model.workers[0].pid)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call(model, f"gate {gate.path}")))
    thread.start()
    gate.wait_begun()
    worker.suspend()
    gate.open()
    worker.resume()
    thread.join()
    worker.suspend()
    thread = threading.Thread(target=lambda: answers.append(call(model)))
    thread.start()
    worker.resume()
    thread.join()
    assert answers == [[2.0]] * 2
    assert (model.workers[0].pid, model.workers[0].restarts) == (worker.pid, 0)


HOST = """
import sys
from neuropod_ope import Runtime
path, cache, gate = sys.argv[1:]
with Runtime(cache_dir=cache) as runtime:
    model = runtime.load(path, out_of_process=True)
    print(model.workers[0].pid, flush=True)
    print(model.infer({"x": [1.0], "order": "gate " + gate}, timeout=float(sys.stdin.readline()))["y"].tolist())
    print(model.workers[0].restarts)
"""


def test_an_application_stopped_beyond_its_deadline_finds_its_answer_and_its_worker(tmp_path, gate):
    specs = [{"name": "x", "dtype": "float64", "shape": None}, {"name": "order", "dtype": "string", "shape": ()}]
    outputs = [{"name": "y", "dtype": "float64", "shape": None}]
    package = python_neuropod(tmp_path, {"main.py": HANGING}, input_spec=specs, output_spec=outputs)
    timeout = 2.0
    command = [sys.executable, "-c", HOST, package, tmp_path / "cache", gate.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as host:
        try:
            worker = psutil.Process(int(host.stdout.readline()))
            host.stdin.write(f"{timeout}\n")
            host.stdin.flush()
            began = time.monotonic()
            gate.wait_begun()
            host.send_signal(signal.SIGSTOP)
            gate.open()
            time.sleep(
                max(0.0, began + timeout + 0.2 - time.monotonic())
            )  # the deadline passes while it stands still
            assert worker.status() != psutil.STATUS_ZOMBIE
            host.send_signal(signal.SIGCONT)
            assert host.stdout.read().split("\n") == ["[2.0]", "0", ""]
        finally:
            host.kill()


def test_nothing_that_waits_looks_at_the_wall_clock():
    client, worker = Path(neuropod_ope.__file__).parent, Path(neuropod_worker.__file__).parent
    waiting = [client / "client", client / "supervisor", client / "model.py", worker / "shm", worker / "server.py"]
    files = [path for place in waiting for path in ([place] if place.is_file() else place.rglob("*.py"))]
    files.remove(client / "client" / "capsules.py")  # it waits for nothing, and says when it was written
    assert len(files) > 20
    for path in files:
        assert not re.search(r"\btime\.(time|time_ns)\(|datetime", path.read_text(encoding="utf-8")), path
