"""Whether a model is well and takes calls: what is said of workers that are, and of workers that are not."""

import asyncio
import os
import queue
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from gates import GATED, INPUTS, OUTPUTS
from loaders import Loader

from neuropod_ope import (
    HandleClosed,
    Health,
    InferTimeout,
    LoadError,
    PackageError,
    Progress,
    RestartPolicy,
    WorkerDied,
)
from neuropod_ope.client.health import Signs, progress_of

pytestmark = pytest.mark.workers

WELL = Signs(pid=1, dead=False, stopped=False, step="waiting", seconds=5.0, request=0, hears=True)


@pytest.mark.parametrize(
    ("signs", "problem"),
    [
        ({}, ""),
        ({"step": "running", "request": 7}, ""),
        ({"step": "running", "request": 7, "seconds": 11.0}, "stuck"),
        ({"step": "loading", "request": 7, "seconds": 11.0}, ""),
        ({"seconds": 11.0}, ""),
        ({"hears": False}, "deaf"),
        ({"stopped": True}, "stopped"),
        ({"stopped": True, "dead": True}, "dead"),
        ({"dead": True, "hears": False}, "dead"),
    ],
)
def test_the_signs_of_a_worker_say_what_is_the_matter(signs, problem):
    signs = WELL._replace(**signs)
    assert progress_of(signs, stuck_after=10.0) == Progress(
        signs.pid, signs.step, signs.seconds, signs.request or None, problem
    )


@pytest.fixture
def load_gated(load_in_workers):
    return lambda before="", **options: load_in_workers(before + GATED, INPUTS, OUTPUTS, **options)


def only(health):
    (progress,) = health.progress
    return progress


def test_a_model_that_waits_is_well(load_gated):
    model = load_gated()
    health = model.health()
    assert (health.live, health.ready, health.state) == (True, True, "ready")
    progress = only(health)
    assert (progress.pid, progress.step, progress.request, progress.problem) == (
        model.workers[0].pid, "waiting", None, ""
    )  # fmt: skip
    assert model.infer({"x": [1.0]})["y"] == [2]
    assert only(model.health()).step == "waiting"


def test_a_model_that_runs_says_what_and_since_when(load_gated, gate):
    model = load_gated()
    future = model.submit(gate.inputs)
    gate.wait_begun()
    first = model.health()
    assert first.live and first.ready
    assert (only(first).step, only(first).problem) == ("running", "")
    assert only(first).request
    later = model.health()
    assert only(later).seconds > only(first).seconds
    assert only(later).request == only(first).request
    gate.open()
    future.result()


def test_a_model_that_runs_the_same_call_for_too_long_is_stuck(load_gated, gate):
    model = load_gated(timeout=1000)
    future = model.submit(gate.inputs)
    gate.wait_begun()
    assert model.health().ready
    health = model.health(stuck_after=1e-9)
    assert (health.live, health.ready, only(health).problem) == (False, False, "stuck")
    gate.open()
    future.result()
    assert model.health(stuck_after=1e-9).ready


@pytest.mark.parametrize("busy", [False, True])
def test_a_stopped_worker_is_not_well_until_it_is_continued(load_gated, gate, busy):
    model = load_gated()
    worker = psutil.Process(model.workers[0].pid)
    if busy:
        future = model.submit(gate.inputs)
        gate.wait_begun()
    worker.suspend()
    while worker.status() != psutil.STATUS_STOPPED:  # the kernel takes a moment
        os.sched_yield()
    health = model.health()
    assert (health.live, health.ready, only(health).problem) == (False, False, "stopped")
    worker.resume()
    while model.health().progress[0].problem == "stopped":
        os.sched_yield()
    assert model.health().ready
    if busy:
        gate.open()
        assert future.result()["y"] == [1.0]


def test_a_worker_that_waits_and_takes_nothing_is_deaf(load_gated):
    # Its main thread has left the loop that reads the mailbox, while its page still says that it waits.
    model = load_gated(
        "import signal, threading, time\ndef hang(*_): time.sleep(1000)\nsignal.signal(signal.SIGUSR1, hang)\n"
    )
    model.infer({"x": [1.0]})
    while only(model.health()).step != "waiting":
        os.sched_yield()
    os.kill(model.workers[0].pid, signal.SIGUSR1)
    while model.health().ready:  # until the signal has come
        os.sched_yield()
    health = model.health()
    assert (health.live, only(health).problem) == (False, "deaf")


def has_ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_dead_worker_is_never_said_to_be_well(load_gated):
    model = load_gated(restart=RestartPolicy(ceiling=0))
    pid = model.workers[0].pid
    os.kill(pid, signal.SIGKILL)
    while not has_ended(pid):
        os.sched_yield()
    assert not model.health().ready
    while (health := model.health()).state == "ready":
        assert not health.ready
    assert (health.live, health.ready, health.state, only(health).problem) == (False, False, "stopped", "dead")


def test_a_model_that_is_being_loaded_lives_and_is_not_ready(load_gated, gate):
    model = load_gated(gate.code, lazy=True)
    assert model.health() == Health(False, False, "new", ())
    thread = threading.Thread(target=model.load)
    thread.start()
    gate.wait_begun()
    health = model.health()
    assert (health.live, health.ready, health.state, only(health).step) == (True, False, "loading", "loading")
    with pytest.raises(InferTimeout, match=r"the load .* did not finish in time"):
        model.wait_ready(timeout=0.05)
    gate.open()
    model.wait_ready()
    assert model.health().ready
    thread.join()


def test_a_worker_whose_python_is_still_booting_lives_and_is_not_ready(load_out_of_process, gate, tmp_path):
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nif [ "$3" = serve ]; then\n  touch {gate.path}.begun\n'
        f'  while [ ! -e {gate.path} ]; do sleep 0.01; done\nfi\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    model = load_out_of_process(GATED, INPUTS, OUTPUTS, environment=python, lazy=True)
    thread = threading.Thread(target=model.load)
    thread.start()
    gate.wait_begun()
    while not model.health().progress:  # its pid has not come from the supervisor yet
        os.sched_yield()
    first, later = model.health(), model.health()
    assert (first.live, first.ready, first.state) == (True, False, "loading")
    assert (only(first).step, only(first).request, only(first).problem) == ("starting", None, "")
    assert only(later).seconds > only(first).seconds > 0
    gate.open()
    while (health := model.health()).progress[0].step == "starting":
        os.sched_yield()
    assert health.live
    thread.join()
    assert model.health().ready
    assert only(model.health()).pid == only(first).pid == model.workers[0].pid


def test_spare_workers_show_their_progress_too(load_gated):
    told = queue.SimpleQueue()
    model = load_gated(restart=RestartPolicy(standby=1), on_event=told.put)
    while told.get().event != "spare ready":
        pass
    assert [progress.pid for progress in model.health().progress] == [worker.pid for worker in model.workers]


def test_several_instances_take_calls_as_long_as_one_of_them_is_well(load_out_of_process):
    model = load_out_of_process(GATED, INPUTS, OUTPUTS, instances=2, restart=RestartPolicy(ceiling=0))
    pids = [worker.pid for worker in model.workers]
    for number, pid in enumerate(pids):
        os.kill(pid, signal.SIGKILL)
        while model.health().progress[number].problem != "dead":
            os.sched_yield()
        assert model.health().ready == (number == 0)
        if number == 0:
            model.wait_ready()
    while model.health().state != "stopped":
        os.sched_yield()
    with pytest.raises(WorkerDied):
        model.wait_ready()


def test_a_closed_model_is_not_well(load_gated):
    model = load_gated()
    model.close()
    assert model.health() == Health(False, False, "closed", ())
    for call in (model.wait_ready, model.drain):
        with pytest.raises(HandleClosed):
            call()


def test_waiting_for_a_model_that_was_given_up_raises_its_cause_and_does_not_try_again(load_gated, tmp_path):
    broken = tmp_path / "broken"
    told = queue.SimpleQueue()
    model = load_gated(
        f"import os\nif os.path.exists({str(broken)!r}): raise ValueError('gone')\n", on_event=told.put
    )
    broken.touch()
    os.kill(model.workers[0].pid, signal.SIGKILL)
    while told.get().event != "give up":
        pass
    for _ in range(2):
        with pytest.raises(LoadError, match="gone"):
            model.wait_ready()
    assert told.empty()
    broken.unlink()
    model.load()
    model.wait_ready()


def test_health_is_what_it_says_for_a_model_in_this_process(tmp_path):
    loader = Loader(tmp_path, out_of_process=False)
    with loader.runtime:
        model = loader(GATED, INPUTS, OUTPUTS, lazy=True)
        assert not model.health().ready
        model.wait_ready()
        assert model.health() == Health(True, True, "ready", ())


# ---- draining


@pytest.fixture
def load_any(load_in_executors):
    return lambda **options: load_in_executors(GATED, INPUTS, OUTPUTS, **options)


def test_a_drained_model_finishes_what_it_has_and_takes_nothing_new(load_any, gate):
    model = load_any()
    futures = [model.submit(gate.inputs), *(model.submit({"x": [float(number)]}) for number in range(50))]
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(model.infer(gate.inputs)["y"].tolist()))
    waiting.start()
    gate.wait_begun()
    with pytest.raises(InferTimeout, match="was not drained in time"):
        model.drain(timeout=0.01)
    for call in (model.infer, model.submit):
        with pytest.raises(HandleClosed, match="being drained"):
            call({"x": [1.0]})
    with pytest.raises(HandleClosed, match="being drained"):
        asyncio.run(model.infer_async({"x": [1.0]}))
    health = model.health()
    assert (health.ready, health.state) == (False, "draining")
    gate.open()
    model.drain(timeout=60)
    assert all(future.done() for future in futures)
    waiting.join()
    assert answers == [[1.0]]
    model.close()
    assert [future.result()["y"].tolist() for future in futures[1:]] == [[2.0 * number] for number in range(50)]


def test_several_may_drain_a_model(load_any, gate):
    model = load_any()
    with ThreadPoolExecutor(3) as threads:
        call = threads.submit(model.infer, gate.inputs)
        gate.wait_begun()
        drains = [threads.submit(model.drain) for _ in range(2)]
        while model.health().state != "draining":
            os.sched_yield()
        gate.open()
        call.result()
        for drain in drains:
            drain.result(timeout=60)


def test_a_drain_waits_for_calls_that_wait_for_a_load(load_gated, gate):
    model = load_gated(gate.code, lazy=True)
    answers = []
    calling = threading.Thread(target=lambda: answers.append(model.infer({"x": [3.0]})["y"].tolist()))
    calling.start()
    gate.wait_begun()
    draining = threading.Thread(target=model.drain)
    draining.start()
    while model.health().state != "draining":
        os.sched_yield()
    gate.open()
    draining.join()
    calling.join()
    assert answers == [[6.0]]


def test_what_an_iteration_sent_ahead_survives_a_drain_and_a_close(load_gated):
    model = load_gated()
    iteration = model.infer_many([{"x": [float(number)]} for number in range(4)], max_in_flight=4)
    assert next(iteration)["y"] == [0]
    model.drain()
    model.close()
    assert [outputs["y"].tolist() for outputs in iteration] == [[2.0], [4.0], [6.0]]


def test_a_model_without_calls_is_drained_at_once(load_any):
    model = load_any(lazy=True)
    model.drain()
    with pytest.raises(HandleClosed, match="being drained"):
        model.load()
    model = load_any()
    for wrong in (float("nan"), "5"):
        with pytest.raises(ValueError, match="a timeout is a number of seconds"):
            model.drain(wrong)
    assert model.infer({"x": [1.0]})["y"] == [2]
    model.drain()
    model.drain(float("inf"))


# ---- warming up


COUNTING = """
import os
def load(d):
    calls = []
    def run(x):
        calls.append(x)
        if os.path.exists({unlucky!r}): raise ValueError("unlucky")
        return {{"calls": len(calls)}}
    return run
"""
X, CALLS = {"x": ("float64", (None,))}, {"calls": ("int64", ())}


def test_a_warm_model_has_run_its_test_data_before_its_first_call_and_after_each_restart(load):
    path = load.package(COUNTING.format(unlucky=""), X, CALLS, test_input_data={"x": [1.0]})
    model = load.runtime.load(path, out_of_process=load.out_of_process, warm_up=True)
    assert model.infer({"x": [1.0]})["calls"] == 2
    if load.out_of_process:
        os.kill(model.workers[0].pid, signal.SIGKILL)
        assert model.infer({"x": [1.0]})["calls"] == 2


def test_a_warm_up_that_fails_is_a_load_that_failed(load, tmp_path):
    marker = tmp_path / "unlucky"
    path = load.package(COUNTING.format(unlucky=str(marker)), X, CALLS, test_input_data={"x": [1.0]})
    marker.touch()
    with pytest.raises(LoadError, match=r"warm-up failed: .*unlucky") as caught:
        load.runtime.load(path, out_of_process=load.out_of_process, warm_up=True)
    assert caught.value.remote_type == "ValueError"


def test_a_package_without_test_data_cannot_be_warmed_up(load):
    path = load.package(COUNTING.format(unlucky=""), X, CALLS)
    with pytest.raises(PackageError, match="no test data"):
        load.runtime.load(path, out_of_process=load.out_of_process, warm_up=True)
