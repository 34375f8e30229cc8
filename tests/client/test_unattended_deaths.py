"""Workers that die, hang and time out under calls that nobody waits for: none is lost, none mixed up."""

import asyncio
import os
import random
import signal
import threading
import time

import numpy as np
import psutil
import pytest
from gates import GATED, INPUTS, OUTPUTS

from neuropod_ope import HandleClosed, InferTimeout, LoadError, WorkerDied

pytestmark = pytest.mark.workers

ANY = {"x": ("float64", None)}


@pytest.fixture
def model(load_in_workers):
    return load_in_workers(GATED, INPUTS, OUTPUTS)


def works(model):
    return model.infer({"x": [3.0]})["y"] == [6.0]


@pytest.mark.parametrize("size", [1, 30_000])
def test_the_call_that_ran_fails_and_the_others_are_answered_with_what_was_submitted(model, gate, size):
    running = model.submit(gate.inputs)
    array = np.zeros(size)
    futures = []
    for number in range(100):
        array[:] = number
        futures.append(model.submit({"x": array}))
    array[:] = -1  # what is sent again must not be this
    gate.wait_begun()
    os.kill(model.workers[0].pid, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="SIGKILL"):
        running.result()
    assert all((future.result()["y"] == 2 * number).all() for number, future in enumerate(futures))
    assert [int(future.result()["runs"]) for future in futures] == list(range(1, 101)), "in their order"
    assert model.workers[0].restarts == 1


def test_text_is_sent_again_as_it_was_submitted(load_in_workers, gate):
    code = "import os, time\ndef load(d):\n    def run(x):\n"
    code += "        while os.path.exists(str(x)): time.sleep(0.001)\n        return {'y': x}\n    return run\n"
    model = load_in_workers(code, {"x": ("string", ())}, {"y": ("string", ())})
    gate.open()
    running = model.submit({"x": str(gate.path)})
    array = np.array("before")
    waiting = model.submit({"x": array})
    array[...] = "after"
    os.kill(model.workers[0].pid, signal.SIGKILL)
    os.unlink(gate.path)
    assert waiting.result()["y"] == "before"
    assert running.exception() is None or isinstance(running.exception(), WorkerDied)


def test_an_allocated_array_is_lent_until_its_submitted_call_is_done_over_a_death(load_in_workers, gate):
    model = load_in_workers(GATED, INPUTS, OUTPUTS)
    running = model.submit(gate.inputs)
    array = model.allocate("x", (30_000,))
    array[:] = 7
    future = model.submit({"x": array})
    with pytest.raises(ValueError, match="read-only"):
        array[:] = -1
    os.kill(model.workers[0].pid, signal.SIGKILL)
    gate.open()
    assert (future.result()["y"] == 14).all()
    array[:] = 8
    assert (model.submit({"x": array}).result()["y"] == 16).all()
    assert running.done()


def test_a_call_submitted_after_a_death_gets_a_fresh_worker(model):
    for number in range(3):
        os.kill(model.workers[0].pid, signal.SIGKILL)
        assert model.submit({"x": [float(number)]}).result()["y"] == [2.0 * number]
    assert model.workers[0].restarts == 3


def test_an_iteration_goes_on_over_deaths_of_idle_workers_and_repeats_nothing_that_had_begun(model):
    answers = model.infer_many(({"x": [float(number)]} for number in range(100)), max_in_flight=4)
    came = []
    try:
        for outputs in answers:
            came.append(float(outputs["y"][0]))
            if len(came) % 10 == 0:
                os.kill(model.workers[0].pid, signal.SIGKILL)
    except WorkerDied:
        pass
    assert came == [2.0 * number for number in range(len(came))]
    assert works(model)


def test_under_any_number_of_deaths_every_future_is_done_and_no_answer_is_anothers(model):
    stop = threading.Event()
    deaths = random.Random(7)

    def kill():
        while not stop.wait(deaths.uniform(0.0, 0.3)):
            for worker in model.workers:
                try:
                    os.kill(worker.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        futures = [model.submit({"x": np.full(1 + number % 3 * 5000, float(number))}) for number in range(500)]
        outcomes = [future.exception(timeout=100) for future in futures]
    finally:
        stop.set()
        killer.join()
    assert {type(outcome) for outcome in outcomes} <= {type(None), WorkerDied}
    for number, future in enumerate(futures):
        if outcomes[number] is None:
            assert (future.result()["y"] == 2.0 * number).all()
    assert outcomes.count(None) > 0
    assert works(model)


def test_a_call_that_hangs_times_out_and_the_others_are_answered(model, gate):
    hanging = model.submit(gate.inputs, timeout=0.3)
    others = [model.submit({"x": [float(number)]}) for number in range(50)]
    with pytest.raises(InferTimeout, match="was killed"):
        hanging.result()
    assert [future.result()["y"].tolist() for future in others] == [[2.0 * number] for number in range(50)]
    assert model.workers[0].restarts == 1


def test_calls_that_time_out_behind_another_harm_nobody(model, gate):
    held = model.submit(gate.inputs)
    futures = [model.submit({"x": [1.0]}, timeout=0.2) for _ in range(100)]
    assert all(isinstance(future.exception(), InferTimeout) for future in futures)
    gate.open()
    assert held.result()["runs"] == 1
    assert model.infer({"x": [1.0]})["runs"] == 2, "none of them was run"
    assert model.workers[0].restarts == 0


def test_a_coroutine_may_time_out(model, gate):
    async def late():
        with pytest.raises(InferTimeout):
            await model.infer_async(gate.inputs, timeout=0.2)
        return await model.infer_async({"x": [1.0]}, timeout=30)

    assert asyncio.run(late())["y"] == [2.0]


def test_a_deadline_that_has_passed_comes_with_the_future(model):
    for timeout in (0, -1):
        assert isinstance(model.submit({"x": [1.0]}, timeout=timeout).exception(), InferTimeout)
    assert model.submit({"x": [1.0]}, timeout=30).result()["runs"] == 1


def test_an_iteration_whose_consumer_is_slower_than_the_deadline_gets_what_was_answered_in_time(model):
    answers = model.infer_many(({"x": [float(number)]} for number in range(20)), timeout=1.0, max_in_flight=10)
    first = next(answers)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:  # real time has to pass for the deadline to
        os.sched_yield()
    assert [float(outputs["y"][0]) for outputs in (first, *answers)] == [2.0 * number for number in range(20)]


def test_an_iteration_with_a_call_that_hangs_ends_with_a_timeout(model, gate):
    answers = model.infer_many([{"x": [1.0]}, gate.inputs, {"x": [2.0]}], timeout=0.3)
    assert next(answers)["y"] == [2.0]
    with pytest.raises(InferTimeout):
        next(answers)
    assert works(model)


def test_an_iteration_that_is_given_up_runs_nothing_more(model, gate):
    answers = model.infer_many([{"x": [1.0]}, gate.inputs, {"x": [1.0]}, {"x": [1.0]}], max_in_flight=4)
    assert next(answers)["runs"] == 1
    gate.wait_begun()
    answers.close()
    gate.open()
    assert model.infer({"x": [1.0]})["runs"] == 3


def test_a_model_that_cannot_be_loaded_again_fails_what_waits_for_it(load_in_workers, tmp_path, gate):
    broken = tmp_path / "broken"
    model = load_in_workers(
        f"import os\nif os.path.exists({str(broken)!r}): raise ValueError('no')\n{GATED}", INPUTS, OUTPUTS
    )
    running = model.submit(gate.inputs)
    waiting = [model.submit({"x": [1.0]}) for _ in range(3)]
    gate.wait_begun()
    broken.touch()
    os.kill(model.workers[0].pid, signal.SIGKILL)
    assert isinstance(running.exception(), WorkerDied)
    assert all(isinstance(future.exception(), LoadError) for future in waiting)
    broken.unlink()
    model.load()
    assert model.submit({"x": [1.0]}).result()["runs"] == 1


class Reached:
    """An input that tells when a call has got as far as reading it."""

    def __init__(self):
        self.event = threading.Event()

    def __array__(self, dtype=None, copy=None):
        self.event.set()
        return np.array([1.0])


def test_waiting_calls_get_their_turn_among_many_that_were_submitted(model, gate):
    futures = [model.submit(gate.inputs)] + [model.submit({"x": [1.0]}) for _ in range(500)]
    runs = []
    inputs = [Reached() for _ in range(20)]
    callers = [threading.Thread(target=lambda x=x: runs.append(int(model.infer({"x": x})["runs"]))) for x in inputs]
    for caller, reached in zip(callers, inputs, strict=True):
        caller.start()
        reached.event.wait()
    gate.open()
    for caller in callers:
        caller.join()
    assert min(runs) < 100
    assert sorted([*runs, *(int(future.result()["runs"]) for future in futures)]) == list(range(1, 522))


def test_more_threads_than_a_mailbox_has_slots_all_get_a_turn(model, gate):
    held = model.submit(gate.inputs)
    answers = []
    threads = [
        threading.Thread(
            target=lambda number=number: answers.append(model.infer({"x": [number]})["y"] == [2 * number])
        )
        for number in map(float, range(150))
    ]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join()
    assert answers == [True] * 150
    assert held.result()["runs"] == 1


def test_closing_a_model_of_a_shared_worker_fails_its_calls_and_none_of_anothers(load_in_workers, gate):
    package = load_in_workers.package(GATED, INPUTS, OUTPUTS)
    with load_in_workers.runtime.worker(load_in_workers.runtime.environment(package)) as worker:
        one, other = worker.load(package), worker.load(package)
        held = other.submit(gate.inputs)
        ours = [one.submit({"x": [1.0]}) for _ in range(50)]
        theirs = [other.submit({"x": [float(number)]}) for number in range(50)]
        gate.wait_begun()
        one.close()
        assert all(isinstance(future.exception(), HandleClosed) for future in ours)
        gate.open()
        assert held.result()["y"] == [1.0]
        assert [future.result()["y"].tolist() for future in theirs] == [[2.0 * number] for number in range(50)]
        assert other.workers[0].restarts == 0


@pytest.mark.parametrize("size", [1, 30_000])
def test_with_retries_a_call_that_was_run_is_made_again_as_it_was_submitted(load_in_workers, gate, size):
    code = GATED.replace("runs.append(x.flat[0])", "runs.append(x.flat[0])\n        x += 1")
    model = load_in_workers(code, INPUTS, OUTPUTS, retries=1)
    array = np.full(size, 3.0)
    future = model.submit({"x": array, "gate": str(gate.path)})
    array[:] = -1
    gate.wait_begun()
    os.kill(model.workers[0].pid, signal.SIGKILL)
    gate.open()
    assert (future.result()["y"] == 8.0).all()


def test_a_stopped_worker_is_replaced_when_a_submitted_call_times_out(model):
    psutil.Process(model.workers[0].pid).suspend()
    with pytest.raises(InferTimeout, match="was killed"):
        model.submit({"x": [1.0]}, timeout=0.1).result()
    assert works(model)
