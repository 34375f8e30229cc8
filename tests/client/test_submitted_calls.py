"""Futures, coroutines and iterations: the contract of calls that nobody waits for, whatever runs the model."""

import asyncio
import gc
import os
import threading
from concurrent.futures import CancelledError, as_completed, wait

import numpy as np
import pytest
from gates import GATED, INPUTS, OUTPUTS

from neuropod_ope import HandleClosed, ModelError, NeuropodError, QueueFull, SpecError

pytestmark = pytest.mark.workers


@pytest.fixture
def model(load):
    return load(GATED, INPUTS, OUTPUTS)


def test_the_outputs_come_with_the_future(model):
    futures = [model.submit({"x": [float(number)]}) for number in range(100)]
    assert [future.result()["y"].tolist() for future in futures] == [[2.0 * number] for number in range(100)]


def test_calls_start_in_the_order_in_which_they_were_submitted(model, gate):
    futures = [model.submit(gate.inputs)] + [model.submit({"x": [1.0]}) for _ in range(300)]
    gate.open()
    assert [int(future.result()["runs"]) for future in futures] == list(range(1, 302))


@pytest.mark.parametrize("size", [1, 30_000])
def test_arrays_may_be_changed_as_soon_as_submit_returns(model, gate, size):
    held = model.submit(gate.inputs)
    array = np.zeros(size)
    futures = []
    for number in range(100):  # more than there is room for at once
        array[:] = number
        futures.append(model.submit({"x": array}))
    array[:] = -1
    gate.open()
    held.result()
    assert all((future.result()["y"] == 2 * number).all() for number, future in enumerate(futures))


def test_what_does_not_fit_is_an_error_at_once(model):
    with pytest.raises(SpecError, match="there is no input 'z'"):
        model.submit({"z": [1.0]})
    with pytest.raises(SpecError, match="there is no output 'z'"):
        model.submit({"x": [1.0]}, ["z"])
    with pytest.raises(SpecError, match="there is no input 'z'"):
        asyncio.run(model.infer_async({"z": [1.0]}))


def test_requested_outputs_select_a_subset(model):
    assert set(model.submit({"x": [1.0]}, ["y"]).result()) == {"y"}
    assert set(asyncio.run(model.infer_async({"x": [1.0]}, ["runs"]))) == {"runs"}
    assert [set(outputs) for outputs in model.infer_many([{"x": [1.0]}], ["pid"])] == [{"pid"}]


def test_an_exception_of_the_model_comes_with_its_future_and_the_others_are_answered(load):
    model = load(
        "def load(d):\n    return lambda x: {'y': 1 // int(x)}\n", {"x": ("int64", ())}, {"y": ("int64", ())}
    )
    futures = [model.submit({"x": number}) for number in (1, 0, 1)]
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        futures[1].result()
    assert isinstance(futures[1].exception(), ModelError)
    assert futures[0].result()["y"] == futures[2].result()["y"] == 1


def test_a_call_that_has_not_started_can_be_cancelled_and_is_not_run(model, gate):
    held = model.submit(gate.inputs)
    futures = [model.submit({"x": [1.0]}) for _ in range(100)]
    gate.wait_begun()
    assert all(future.cancel() for future in futures)
    assert all(future.cancelled() and future.cancel() for future in futures)
    gate.open()
    assert held.result()["runs"] == 1
    with pytest.raises(CancelledError):
        futures[0].result()
    assert model.infer({"x": [1.0]})["runs"] == 2


def test_a_call_that_has_started_cannot_be_cancelled(model, gate):
    held = model.submit(gate.inputs)
    gate.wait_begun()
    assert not held.cancel()
    gate.open()
    assert held.result()["y"] == [1.0]
    assert not held.cancel()


def test_futures_work_with_what_the_standard_library_has_for_them(model, gate):
    held = model.submit(gate.inputs)
    futures = {model.submit({"x": [float(number)]}): number for number in range(10)}
    cancelled = next(iter(futures))
    assert cancelled.cancel()
    gate.open()
    assert all(
        future is cancelled or future.result()["y"] == [2 * futures[future]] for future in as_completed(futures)
    )
    done, not_done = wait([held, *futures])
    assert len(done) == 11 and not not_done


def test_a_callback_may_call_the_model(model):
    answers = []
    done = threading.Event()

    def callback(future):
        answers.append(model.infer({"x": future.result()["y"]})["y"].tolist())
        done.set()

    model.submit({"x": [1.0]}).add_done_callback(callback)
    done.wait()
    assert answers == [[4.0]]


def test_a_callback_that_fails_harms_no_other_call(model):
    def callback(future):
        raise SystemExit(3)

    futures = [model.submit({"x": [1.0]}) for _ in range(10)]
    for _ in range(3):
        failing = model.submit({"x": [1.0]})
        try:
            failing.add_done_callback(callback)
        except SystemExit:  # it was done already
            pass
        assert failing.result()["y"] == [2.0]
    assert all(future.result()["y"] == [2.0] for future in futures)
    assert model.submit({"x": [1.0]}).result()["y"] == [2.0]


def test_too_many_calls_are_refused_and_the_others_answered(model, gate):
    futures = [model.submit(gate.inputs)]
    with pytest.raises(QueueFull, match="infer_many"):
        while True:
            futures.append(model.submit({"x": [float(len(futures))]}))
    assert len(futures) > 1000
    gate.open()
    answers = [future.result()["y"].tolist() for future in futures]
    assert answers[1:] == [[2.0 * number] for number in range(1, len(futures))]
    assert model.submit({"x": [1.0]}).result()["y"] == [2.0]


def test_closing_ends_what_is_not_answered(load, gate):
    model = load(GATED, INPUTS, OUTPUTS)
    futures = [model.submit(gate.inputs)] + [model.submit({"x": [1.0]}) for _ in range(100)]
    gate.wait_begun()
    opener = threading.Timer(0.1, gate.open)  # in this process a call that runs cannot be ended
    opener.start()
    model.close()
    opener.join()
    assert all(future.done() for future in futures)
    assert all(isinstance(future.exception(), HandleClosed) for future in futures[1:])
    with pytest.raises(HandleClosed):
        model.submit({"x": [1.0]})


def test_a_model_is_kept_alive_by_its_calls_and_by_nothing_else(load, gate):
    future = load(GATED, INPUTS, OUTPUTS).submit(gate.inputs)
    gc.collect()
    gate.open()
    assert future.result()["y"] == [1.0]
    gc.collect()  # what is left is looked at after each test


def test_a_forked_child_is_told_that_the_answer_goes_to_the_parent(model, gate):
    finished, pending = model.submit({"x": [1.0]}), model.submit(gate.inputs)
    finished.result()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            pending.result()
        except HandleClosed:
            os.write(tell, b"closed" if finished.result()["y"] == [2.0] else b"wrong")
        finally:
            os._exit(0)
    assert os.read(told, 10) == b"closed"
    os.waitpid(child, 0)
    os.close(told)
    os.close(tell)
    gate.open()
    assert pending.result()["y"] == [1.0]


def test_any_number_of_coroutines_may_wait_for_one_model(model):
    async def all_of_them():
        return await asyncio.gather(*[model.infer_async({"x": [float(number)]}) for number in range(3000)])

    answers = asyncio.run(all_of_them())
    assert [float(answer["y"][0]) for answer in answers] == [2.0 * number for number in range(3000)]


def test_the_event_loop_goes_on_while_a_lazy_model_is_loaded(load, tmp_path):
    gate = tmp_path / "load"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.001)\n{GATED}"
    model = load(code, INPUTS, OUTPUTS, lazy=True)

    async def open_it():
        gate.touch()

    async def both():
        return await asyncio.gather(model.infer_async({"x": [1.0]}), open_it())

    assert asyncio.run(both())[0]["y"] == [2.0]


def test_cancelling_a_coroutine_cancels_a_call_that_has_not_started(model, gate):
    async def cancel_one():
        held = asyncio.ensure_future(model.infer_async(gate.inputs))
        other = asyncio.ensure_future(model.infer_async({"x": [1.0]}))
        await asyncio.sleep(0)
        gate.wait_begun()
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        gate.open()
        return await held

    assert asyncio.run(cancel_one())["runs"] == 1
    assert model.infer({"x": [1.0]})["runs"] == 2


def test_many_are_answered_in_their_order_though_one_buffer_carries_them(model):
    buffer = np.zeros(1000)

    def frames():
        for number in range(200):
            buffer[:] = number
            yield {"x": buffer}

    for window in (1, 2, 8, 100):
        answers = [float(outputs["y"][-1]) for outputs in model.infer_many(frames(), max_in_flight=window)]
        assert answers == [2.0 * number for number in range(200)]
    assert list(model.infer_many([])) == []


def test_no_more_is_read_ahead_than_may_be_in_flight(model):
    read = []

    def endless():
        while True:
            read.append(len(read))
            yield {"x": [float(len(read))]}

    answers = model.infer_many(endless(), max_in_flight=5)
    assert not read, "nothing happens before the first answer is asked for"
    for number in range(1, 10):
        next(answers)
        assert len(read) <= number + 5
    answers.close()
    assert model.infer({"x": [1.0]})["y"] == [2.0]


def test_an_error_ends_the_iteration_and_the_model_goes_on(load):
    model = load(
        "def load(d):\n    return lambda x: {'y': 1 // int(x)}\n", {"x": ("int64", ())}, {"y": ("int64", ())}
    )
    answers = model.infer_many({"x": number} for number in (1, 1, 0, 1, 1))
    assert [int(next(answers)["y"]) for _ in range(2)] == [1, 1]
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        next(answers)
    assert list(answers) == []
    assert model.infer({"x": 1})["y"] == 1


@pytest.mark.parametrize("window", [0, -1, 1.5, True, "8"])
def test_a_window_that_is_none_is_refused(model, window):
    with pytest.raises(ValueError, match="max_in_flight must be a whole number"):
        model.infer_many([], max_in_flight=window)


def test_a_timeout_needs_a_worker(load_out_of_process):
    package = load_out_of_process.package(GATED, INPUTS, OUTPUTS)
    here = load_out_of_process.runtime.load(package, out_of_process=False)
    for call in (
        lambda: here.submit({"x": [1.0]}, timeout=30),
        lambda: asyncio.run(here.infer_async({"x": [1.0]}, timeout=30)),
        lambda: list(here.infer_many([{"x": [1.0]}], timeout=30)),
    ):
        with pytest.raises(NeuropodError, match="out_of_process=True"):
            call()


def test_all_kinds_of_calls_from_many_threads_get_their_own_answers(model):
    wrong = []

    def check(number, outputs):
        if not (outputs["y"] == 2 * number).all():
            wrong.append(number)

    def waiting(number):
        for _ in range(50):
            check(number, model.infer({"x": np.full(3, number)}))

    def submitting(number):
        futures = [model.submit({"x": np.full(9000, number)}) for _ in range(50)]
        for future in futures:
            check(number, future.result())

    def iterating(number):
        for outputs in model.infer_many(({"x": np.full(50, number)} for _ in range(50)), max_in_flight=20):
            check(number, outputs)

    def awaiting(number):
        async def some():
            for outputs in await asyncio.gather(*[model.infer_async({"x": np.full(5, number)}) for _ in range(50)]):
                check(number, outputs)

        asyncio.run(some())

    kinds = (waiting, submitting, iterating, awaiting)
    threads = [threading.Thread(target=kinds[i % 4], args=(float(i),)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
