"""Small calls a second: one after the other, and many on their way at once."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

from benchmarks.cases import CASES
from benchmarks.contenders.messages import Sender
from benchmarks.contenders.neuropod import model_of
from benchmarks.contenders.pipe import connected
from neuropod_ope import Neuropod

_CASE = CASES["1 KB"]
_IN_FLIGHT = 16
_TASKS = 64
_PER_LOOK = 4 * _TASKS  # calls between two looks at the clock

Calls = Callable[[int], Any]  # makes so many calls and has their answers


def small_calls(way: str, seconds: float) -> dict[str, float]:
    """Calls a second in a round."""
    with _WAYS[way]() as make_calls:
        make_calls(_PER_LOOK)
        done = 0
        began = time.perf_counter()
        while True:
            make_calls(_PER_LOOK)
            done += _PER_LOOK
            took = time.perf_counter() - began
            if took >= seconds:
                return {"calls": done / took}


@contextmanager
def _neuropod(calls_of: Callable[[Neuropod, dict[str, Any]], Calls]) -> Iterator[Calls]:
    (x,) = _CASE.arrays()
    with model_of(_CASE, out_of_process=True) as model:
        yield calls_of(model, {"x0": x})


def _infer(model: Neuropod, inputs: dict[str, Any]) -> Calls:
    def make_calls(count: int) -> None:
        for _ in range(count):
            model.infer(inputs)

    return make_calls


def _infer_many(model: Neuropod, inputs: dict[str, Any]) -> Calls:
    def make_calls(count: int) -> None:
        for _ in model.infer_many(repeat(inputs, count), max_in_flight=_IN_FLIGHT):
            pass

    return make_calls


def _submit(model: Neuropod, inputs: dict[str, Any]) -> Calls:
    def make_calls(count: int) -> None:
        futures = deque(model.submit(inputs) for _ in range(_IN_FLIGHT))
        for _ in range(count - _IN_FLIGHT):
            futures.popleft().result()
            futures.append(model.submit(inputs))
        for future in futures:
            future.result()

    return make_calls


@contextmanager
def _infer_async() -> Iterator[Calls]:
    loop = asyncio.new_event_loop()
    (x,) = _CASE.arrays()
    try:
        with model_of(_CASE, out_of_process=True) as model:

            async def one_task(count: int) -> None:
                for _ in range(count):
                    await model.infer_async({"x0": x})

            async def all_tasks(count: int) -> None:
                await asyncio.gather(*(one_task(count // _TASKS) for _ in range(_TASKS)))

            yield lambda count: loop.run_until_complete(all_tasks(count))
    finally:
        loop.close()


@contextmanager
def _pipe(ahead: int) -> Iterator[Calls]:
    sender = Sender(_CASE)
    with connected(_CASE) as connection:

        def make_calls(count: int) -> None:
            for _ in range(ahead):
                connection.send_bytes(sender.message())
            for number in range(count):
                sender.answers(connection.recv_bytes())
                if number < count - ahead:
                    connection.send_bytes(sender.message())

        yield make_calls


_WAYS: dict[str, Any] = {
    "infer": lambda: _neuropod(_infer),
    "infer_many": lambda: _neuropod(_infer_many),
    "submit": lambda: _neuropod(_submit),
    "infer_async": _infer_async,
    "pipe": lambda: _pipe(1),
    "pipe, ahead": lambda: _pipe(_IN_FLIGHT),
}
