"""What becomes of a call that runs when it is cancelled, or when its caller is interrupted."""

import asyncio
import os
import signal
import threading

import pytest
from gates import GATED, INPUTS, OUTPUTS

from neuropod_ope import InferTimeout

pytestmark = pytest.mark.workers


@pytest.fixture
def load(load_in_workers):
    return lambda **options: load_in_workers(GATED, INPUTS, OUTPUTS, **options)


class Interrupt(BaseException):
    """What a signal handler of an application may raise."""


@pytest.fixture
def interrupt():
    """Calls a function that blocks, and raises Interrupt in it once the gate's call has begun."""

    def raise_it(number, frame):
        raise Interrupt

    def call(function, gate):
        def signal_once_begun():
            gate.wait_begun()
            os.kill(os.getpid(), signal.SIGUSR1)

        thread = threading.Thread(target=signal_once_begun)
        thread.start()
        with pytest.raises(Interrupt):
            function()
        thread.join()

    before = signal.signal(signal.SIGUSR1, raise_it)
    yield call
    signal.signal(signal.SIGUSR1, before)


def works(model):
    return model.infer({"x": [2.0]}, timeout=60)["y"] == [4.0]


def test_a_future_of_a_call_that_runs_can_be_cancelled_with_its_worker(load, gate):
    model = load(cancel="kill")
    pid = model.workers[0].pid
    running = model.submit(gate.inputs)
    queued = [model.submit({"x": [float(number)]}) for number in range(5)]
    gate.wait_begun()
    assert running.cancel()
    assert running.cancelled()
    assert [future.result()["y"].tolist() for future in queued] == [[2.0 * number] for number in range(5)]
    assert model.workers[0].pid != pid
    assert model.workers[0].restarts == 1


def test_a_call_that_waits_is_cancelled_without_a_death(load, gate):
    model = load(cancel="kill")
    running = model.submit(gate.inputs)
    gate.wait_begun()
    assert model.submit({"x": [1.0]}).cancel()
    gate.open()
    assert running.result()["y"] == [1.0]
    assert not running.cancel()
    assert model.workers[0].restarts == 0


def test_a_cancelled_coroutine_ends_its_call(load, gate):
    model = load(cancel="kill")

    async def cancel_it():
        task = asyncio.create_task(model.infer_async(gate.inputs))
        await asyncio.to_thread(gate.wait_begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await model.infer_async({"x": [2.0]})

    assert asyncio.run(cancel_it())["y"] == [4.0]
    assert model.workers[0].restarts == 1


def test_an_iteration_that_is_left_ends_what_it_sent(load, gate):
    model = load(cancel="kill", timeout=60)
    iteration = model.infer_many(iter([{"x": [1.0]}, gate.inputs, {"x": [3.0]}]), max_in_flight=2)
    assert next(iteration)["y"] == [2.0]
    gate.wait_begun()
    iteration.close()
    assert works(model)
    assert model.workers[0].restarts == 1


def test_an_interrupt_ends_the_call_that_its_caller_waited_for(load, gate, interrupt):
    model = load(cancel="kill")
    interrupt(lambda: model.infer(gate.inputs), gate)
    assert works(model)
    assert model.workers[0].restarts == 1


def test_without_that_a_run_goes_on_and_the_next_call_comes_behind_it(load, gate, interrupt):
    model = load()
    interrupt(lambda: model.infer(gate.inputs), gate)
    with pytest.raises(InferTimeout, match="cancelled before the worker began it"):
        model.infer({"x": [1.0]}, timeout=0.05)
    gate.open()
    assert works(model)
    assert model.workers[0].restarts == 0
