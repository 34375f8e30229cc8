"""Interrupts at any instruction of a call, and other things that happen in the middle."""

import contextlib
import gc
import itertools
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from left_behind import shared_memory

from neuropod_ope import InferTimeout, NeuropodError, Runtime, SpecError

pytestmark = pytest.mark.workers

ANY = {"x": ("float64", None)}
DOUBLE = "def load(data_dir):\n    return lambda x: {'x': x * 2}\n"


class Interrupt(BaseException):
    """What a signal handler of an application may raise."""


@pytest.fixture
def interrupts():
    """Raises Interrupt in the main thread after so many seconds."""

    def raise_it(number, frame):
        raise Interrupt

    before = signal.signal(signal.SIGALRM, raise_it)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.interrupted
@pytest.mark.parametrize("size", [3, 100_000])
def test_an_interrupt_at_any_moment_of_a_call_leaves_a_working_handle(load_out_of_process, interrupts, size):
    model = load_out_of_process(DOUBLE, ANY, ANY)
    inputs = {"x": np.arange(float(size))}
    answers = []
    interrupted = 0
    for round_ in range(400):
        try:
            interrupts(1e-6 * (1 + round_ % 100))
            model.infer(inputs)
        except Interrupt:
            interrupted += 1
        finally:
            try:
                interrupts(0)
            except Interrupt:
                interrupted += 1
        if round_ % 40 == 39:
            other = threading.Thread(target=lambda: answers.append(model.infer(inputs, timeout=30)["x"]))
            other.start()
            other.join()
            answers.append(model.infer(inputs, timeout=30)["x"])
    assert interrupted > 100
    assert len(answers) == 20
    assert all((answer == 2 * inputs["x"]).all() for answer in answers)


@pytest.mark.interrupted
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("size", "instances"), [(3, 1), (100_000, 1), (3, 2)])
def test_an_interrupt_wherever_python_looks_for_one_leaves_a_working_handle(load_out_of_process, size, instances):
    model = load_out_of_process(DOUBLE, ANY, ANY, instances=instances)
    inputs = {"x": np.arange(float(size))}

    def call_interrupted_at(step):
        """Whether there is such a step: a place where the interpreter runs signal handlers. A function begins there,
        or one in C has returned. What is raised in a finalizer is dropped."""
        steps = itertools.count()
        raised = False

        def profile(frame, event, _):
            nonlocal raised
            if event in ("call", "c_return") and frame.f_code is not call.__code__ and next(steps) == step:
                raised = True
                raise Interrupt

        def call():
            sys.setprofile(profile)
            try:
                model.infer(inputs)
            finally:
                sys.setprofile(None)

        with contextlib.suppress(Interrupt):
            call()
        return raised

    for step in itertools.count():
        for _ in range(3):
            model.infer(inputs)
        if not call_interrupted_at(step):
            break
        with ThreadPoolExecutor(1) as other:
            assert (other.submit(model.infer, inputs, timeout=30).result()["x"] == 2 * inputs["x"]).all()
    assert step > 20
    model.drain(timeout=30)  # no call is under way
    if instances > 1:
        assert not model._executors[0]._coming  # nor on its way to one of them


@pytest.mark.interrupted
def test_an_interrupt_at_any_moment_of_a_load_leaves_no_process(load_out_of_process, tmp_path, interrupts):
    package = load_out_of_process.package(DOUBLE, ANY, ANY)
    for milliseconds in range(1, 120, 4):
        runtime = Runtime(cache_dir=tmp_path)
        try:
            interrupts(milliseconds / 1000)
            runtime.load(package, out_of_process=True)
        except Interrupt:
            pass
        finally:
            try:
                interrupts(0)
            except Interrupt:
                pass
        runtime.close()


def test_closing_from_a_signal_handler_during_a_load_ends_it(load_out_of_process, tmp_path, gate):
    package = load_out_of_process.package(gate.code, ANY, ANY)
    runtime = Runtime(cache_dir=tmp_path)
    before = signal.signal(signal.SIGTERM, lambda number, frame: runtime.close())
    main = os.getpid()

    def terminate_once_it_loads():
        gate.wait_begun()
        os.kill(main, signal.SIGTERM)

    thread = threading.Thread(target=terminate_once_it_loads)
    thread.start()
    with pytest.raises(NeuropodError, match="closed"):
        runtime.load(package, out_of_process=True)
    thread.join()
    signal.signal(signal.SIGTERM, before)


def test_memory_of_a_closed_model_is_given_back_without_the_garbage_collector(load_out_of_process):
    gc.collect()
    gc.disable()
    try:
        before = shared_memory()
        for _ in range(3):
            with load_out_of_process.runtime.load(
                load_out_of_process.package(DOUBLE, ANY, ANY), out_of_process=True
            ) as model:
                model.infer({"x": np.ones(1_000_000)})
        del model
        assert shared_memory() - before < 4 * 2**20
    finally:
        gc.enable()


def test_a_forked_child_keeps_the_outputs_that_it_inherited(load_out_of_process):
    model = load_out_of_process(DOUBLE, ANY, ANY)
    held = model.infer({"x": np.full(50_000, 1.0)})["x"]
    go, told = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go[0], 1)
        os.write(told[1], b"same" if (held == 2).all() else b"other")
        os._exit(0)
    del held
    for number in range(5):
        model.infer({"x": np.full(50_000, float(number))})
    os.write(go[1], b"g")
    assert os.read(told[0], 10) == b"same"
    os.waitpid(child, 0)
    for end in (*go, *told):
        os.close(end)


def test_timeouts_that_are_none_are_refused_and_long_ones_are_long(load_out_of_process):
    model = load_out_of_process(DOUBLE, ANY, ANY)
    for timeout in (float("nan"), "5"):
        with pytest.raises(ValueError, match="a number of seconds"):
            model.infer({"x": [1.0]}, timeout=timeout)
    assert model.infer({"x": [1.0]}, timeout=float("inf"))["x"] == [2]
    for timeout in (0, -1):
        with pytest.raises(InferTimeout):
            model.infer({"x": [1.0]}, timeout=timeout)
    assert model.infer({"x": [1.0]}, timeout=30)["x"] == [2]


def test_a_scribbled_doorbell_does_not_outlast_a_timeout(load_out_of_process):
    code = """
import gc, struct, time
def load(data_dir):
    def run(x):
        if x[0] == 1:
            server = next(thing for thing in gc.get_objects() if type(thing).__name__ == "Server")
            bell = server._reply_bell
            bell._mapping.buffer(4160, 4)[:] = struct.pack("<I", 2**31 - 10)
            time.sleep(1000)
        return {"x": x * 2}
    return run
"""
    model = load_out_of_process(code, ANY, ANY)
    with pytest.raises(InferTimeout):
        model.infer({"x": [1.0]}, timeout=0.3)
    assert model.infer({"x": [3.0]})["x"] == [6]


def test_outputs_named_by_other_things_than_text_are_an_error_unchecked_too(load_out_of_process):
    model = load_out_of_process("def load(d):\n    return lambda x: {1: x}\n", ANY, ANY, validate=False)
    with pytest.raises(SpecError):
        model.infer({"x": [1.0]})
