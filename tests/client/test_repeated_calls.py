"""Calls like the one before, which take the shortest way there is, and what makes them leave it."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import psutil
import pytest
from loaders import WAYS, Loader

from neuropod_ope import HandleClosed, InferTimeout, ModelError, SpecError, WorkerDied
from neuropod_ope.errors import ProtocolViolation
from neuropod_worker.shm import control

pytestmark = pytest.mark.workers

X = {"x": ("float64", (None,))}
Y = {"y": ("float64", (None,))}
DOUBLES = "def load(d):\n    return lambda x: {'y': 2 * x}\n"
OBEYS = """
import os, time
import numpy as np
kept = []
def load(d):
    def run(x):
        if x[0] == -1: raise ValueError("as told")
        if x[0] == -2: return None
        if x[0] == -3: return {"y": x.astype("f4")}
        if x[0] == -4: return {"z": x}
        if x[0] == -5: return {"y": [1.0, 2.0]}
        if x[0] == -6: os._exit(1)
        if x[0] == -7: kept.append(x)
        if x[0] == -8: return {"y": np.array([k.sum() for k in kept])}
        if x[0] == -9: time.sleep(1000)
        if x[0] == -10: return {"y": x[::-1]}
        if x[0] == -11: return {"y": np.resize(2 * x, 100 * int(x[1]))}
        return {"y": 2 * x}
    return run
"""

LIES = """
import gc
from neuropod_worker.server import Server
class Liar:
    def __init__(self, replies, frame): self.replies, self.frame = replies, frame
    def __getattr__(self, name): return getattr(self.replies, name)
    def send_repeated(self, bell, *words): self.replies.send_repeated(bell, *words[:5], self.frame, *words[6:])
def load(d):
    (server,) = [it for it in gc.get_objects() if isinstance(it, Server)]
    def run(x):
        if x[0] < 0: server._replies = Liar(server._replies, -int(x[0]) - 1)
        return {"y": 2 * x}
    return run
"""


def repeat(model, value=0.0, times=3):
    for number in range(times):
        x = np.array([value, float(number)])
        assert model.infer({"x": x})["y"].tolist() == [2 * value, 2.0 * number]


@pytest.mark.parametrize(
    ("order", "error", "text"),
    [
        (-1, ModelError, "as told"),
        (-2, (SpecError, ModelError), "None"),
        (-3, SpecError, "float32"),
        (-4, SpecError, "z"),
        (-6, WorkerDied, "exit"),
    ],
)
def test_a_repeated_call_that_fails_is_told_and_the_next_ones_are_answered(load_in_workers, order, error, text):
    model = load_in_workers(OBEYS, X, Y)
    for _ in range(3):
        repeat(model)
        with pytest.raises(error, match=text):
            model.infer({"x": np.array([float(order), 0.0])})
    repeat(model)


def test_a_repeated_call_that_fails_in_process_is_told_as_in_a_worker(load):
    model = load(OBEYS, X, Y)
    repeat(model)
    for order in (-2, -3, -4):
        with pytest.raises((SpecError, ModelError)):
            model.infer({"x": np.array([float(order), 0.0])})
    repeat(model)


def test_outputs_of_another_kind_or_shape_than_the_last_ones_are_right(load):
    model = load(OBEYS, X, Y)
    for _ in range(3):
        repeat(model)
        assert model.infer({"x": np.array([-5.0, 0.0])})["y"].tolist() == [1.0, 2.0]
        assert model.infer({"x": np.array([-10.0, 3.0])})["y"].tolist() == [3.0, -10.0]
        for hundreds in (1, 300, 1):  # 300: 240 KB, which are not copied but handed out
            y = model.infer({"x": np.array([-11.0, float(hundreds)])})["y"]
            assert (y.shape, y[1]) == ((100 * hundreds,), 2.0 * hundreds)


def test_inputs_of_another_kind_or_shape_than_the_last_ones_are_right(load):
    model = load(DOUBLES, X, Y)
    wide = np.arange(20.0)
    for x in (wide[:3], wide[::2], wide[::-1], wide.astype(">f8"), wide[:0], np.ma.array(wide), [1.0], wide.copy()):
        for _ in range(3):
            assert model.infer({"x": x})["y"].tolist() == (2 * np.asarray(x, "f8")).tolist()


@pytest.mark.parametrize(
    "wrong",
    [{"x": np.zeros(2, "f4")}, {"x": np.zeros((2, 1))}, {"y": np.zeros(2)}, {"x": None}, [np.zeros(2)], None],
)
def test_inputs_that_do_not_fit_are_refused_after_ones_that_do(load, wrong):
    model = load(DOUBLES, X, Y)
    repeat(model)
    with pytest.raises(SpecError):
        model.infer(wrong)
    repeat(model)


def test_inputs_and_outputs_are_nobody_elses(load):
    model = load(DOUBLES, X, Y)
    x = np.ones(2)
    answers = []
    for number in range(10):
        x[...] = number
        answers.append(model.infer({"x": x})["y"])
    x[...] = -1
    for number, y in enumerate(answers):
        assert y.tolist() == [2.0 * number] * 2
        y[...] = 0
    repeat(model)


def test_inputs_that_a_model_keeps_are_not_written_over(load_in_workers):
    model = load_in_workers(OBEYS, X, Y)
    for number in range(5):
        repeat(model)
        model.infer({"x": np.array([-7.0, float(number)])})
    repeat(model)
    assert model.infer({"x": np.array([-8.0, 0.0])})["y"].tolist() == [-7.0 + number for number in range(5)]


def test_a_repeated_call_may_have_a_deadline(load_in_workers):
    model = load_in_workers(OBEYS, X, Y)
    for _ in range(2):
        repeat(model)
        with pytest.raises(InferTimeout):
            model.infer({"x": np.array([-9.0, 0.0])}, timeout=0.05)
        for _ in range(3):
            assert model.infer({"x": np.zeros(1)}, timeout=60)["y"] == 0
    with pytest.raises(InferTimeout):
        model.infer({"x": np.zeros(1)}, timeout=1e-9)
    repeat(model)


def test_repeated_calls_of_many_threads_get_their_own_answers(load_in_executors):
    model = load_in_executors(DOUBLES, X, Y)

    def call(value):
        for _ in range(100):
            repeat(model, float(value))
        return value

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(call, range(6))) == list(range(6))


def test_repeated_calls_may_be_mixed_with_all_others(load_in_workers):
    model = load_in_workers(DOUBLES, X, Y)
    for number in range(50):
        futures = [model.submit({"x": np.array([float(number), float(n)])}) for n in range(number % 4)]
        repeat(model, float(number))
        assert [future.result()["y"].tolist() for future in futures] == [
            [2.0 * number, 2.0 * n] for n in range(number % 4)
        ]
        assert model.infer({"x": np.ones(1)}, ["y"])["y"] == 2
        if number % 10 == 9:
            model.free_unused_memory()


def test_an_output_that_is_dropped_during_a_call_gives_its_memory_back(load_in_workers, monkeypatch):
    model = load_in_workers(OBEYS, X, Y)
    original, held, places = control.MAILBOX.exchange, [], set()

    def exchange(*arguments):
        held.clear()
        return original(*arguments)

    monkeypatch.setattr(control.MAILBOX, "exchange", exchange)
    for _ in range(20):
        held.append(model.infer({"x": np.array([-11.0, 300.0])})["y"])
        places.add(held[0].__array_interface__["data"][0])
    assert len(places) < 5


def test_inputs_of_calls_that_fail_are_given_back(tmp_path):
    loader = Loader(tmp_path, **WAYS["worker"], memory_budget=2**20)
    with loader.runtime:
        model = loader(OBEYS, X, Y)
        for _ in range(20):
            with pytest.raises(ModelError):
                model.infer({"x": np.full(20_000, -1.0)})


def test_a_call_is_answered_however_much_was_said_before_that_is_not(load_in_workers):
    model = load_in_workers(DOUBLES, X, Y)
    repeat(model)
    worker = psutil.Process(model.workers[0].pid)
    worker.suspend()
    for _ in range(100):
        model.seal("x", np.ones(10_000))
        model.free_unused_memory()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(repeat, model)
        early = wait([answer], 0.2).done
        worker.resume()
        answer.result()
    assert not early


@pytest.mark.parametrize("frame", [0, 999])
def test_a_repeated_reply_that_names_no_frame_breaks_the_protocol(load_in_workers, frame):
    model = load_in_workers(LIES, X, Y)
    repeat(model)
    with pytest.raises(ProtocolViolation, match=f"frame {frame} was never defined"):
        model.infer({"x": np.array([-frame - 1.0, 0.0])})
    repeat(model)


def test_two_models_in_one_worker_are_called_in_turn(load_in_workers):
    loader = load_in_workers
    with loader.runtime.worker(environment=sys.executable) as worker:
        models = [worker.load(loader.package(code, X, Y)) for code in (DOUBLES, DOUBLES.replace("2 *", "3 *"))]
        for _ in range(5):
            for factor, model in enumerate(models, start=2):
                for _ in range(2):
                    assert model.infer({"x": np.array([1.0])})["y"] == factor
        models[0].close()
        assert models[1].infer({"x": np.array([1.0])})["y"] == 3
        with pytest.raises(HandleClosed):
            models[0].infer({"x": np.array([1.0])})


def test_a_model_that_is_closed_or_drained_takes_no_repeated_call(load):
    for end in ("close", "drain"):
        model = load(DOUBLES, X, Y)
        repeat(model)
        getattr(model, end)()
        with pytest.raises(HandleClosed):
            repeat(model)


def test_a_model_may_be_closed_under_repeated_calls(load_in_executors):
    for _ in range(5):
        model = load_in_executors(DOUBLES, X, Y)
        begun = threading.Event()

        def call(model=model, begun=begun):
            with pytest.raises(HandleClosed):
                while True:
                    repeat(model)
                    begun.set()
            return True

        with ThreadPoolExecutor(2) as threads:
            calls = [threads.submit(call) for _ in range(2)]
            begun.wait()
            model.close()
            assert all(each.result() for each in calls)
