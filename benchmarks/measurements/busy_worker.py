"""A worker that computes for a long time: what the caller's waiting costs, and how soon it has the answer.

The worker answers with the time at which it was done; CLOCK_MONOTONIC is the same in all processes.
"""

import inspect
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.packages import packaged
from benchmarks.processor_time import measured
from benchmarks.spawned import messages_of, spawned
from benchmarks.units import US_PER_S
from neuropod_ope import Runtime

_WARM_UP_S = 1e-3
_NUMBER = struct.Struct("d")


def compute(seconds: float) -> float:
    """For so long; gives the time of the end."""
    until = time.monotonic() + seconds
    while (now := time.monotonic()) < until:
        pass
    return now


_MODEL = f"""
import time

import numpy as np

{inspect.getsource(compute)}

def load(data_dir):
    return lambda seconds: {{"done": np.array([compute(seconds[0])])}}
"""


def answer(way: str, seconds: float, calls: int) -> dict[str, float]:
    """Microseconds from the end of the computation until the caller has the answer; its CPU in percent of a core."""
    with _pipe() if way == "pipe" else _neuropod(way) as call:
        call(_WARM_UP_S)
        delays = []
        with measured([os.getpid()]) as used:
            for _ in range(calls):
                done = call(seconds)
                delays.append(time.monotonic() - done)
    return {"delay": float(np.median(delays)) * US_PER_S, "caller's CPU": used.percent}


@contextmanager
def _neuropod(wait: str) -> Iterator[Callable[[float], float]]:
    one_number = {"dtype": "float64", "shape": (1,)}
    with (
        packaged(_MODEL, [{"name": "seconds", **one_number}], [{"name": "done", **one_number}]) as path,
        Runtime() as runtime,
    ):
        model = runtime.load(path, out_of_process=True, wait=wait)
        yield lambda seconds: float(model.infer({"seconds": np.array([seconds])})["done"][0])


@contextmanager
def _pipe() -> Iterator[Callable[[float], float]]:
    with spawned(_serve) as connection:

        def call(seconds: float) -> float:
            connection.send_bytes(_NUMBER.pack(seconds))
            return float(_NUMBER.unpack(connection.recv_bytes())[0])

        yield call


def _serve(connection: Connection) -> None:
    for message in messages_of(connection):
        (seconds,) = _NUMBER.unpack(message)
        connection.send_bytes(_NUMBER.pack(compute(seconds)))
