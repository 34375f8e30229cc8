"""A worker that is killed in the middle of a call: how soon the caller knows, and when the next answer is there.

The worker notes the time in a file and kills itself; CLOCK_MONOTONIC is the same in all processes.
"""

import inspect
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measurements.round_trips import percentiles
from benchmarks.packages import packaged
from neuropod_ope import RestartPolicy, Runtime, WorkerDied

_MS_PER_S = 1000


def die(note: str) -> None:
    import os
    import signal
    import time

    with open(note, "w") as file:
        file.write(repr(time.monotonic()))
    os.kill(os.getpid(), signal.SIGKILL)


_MODEL = f"""
{inspect.getsource(die)}

def load(data_dir):
    def model(x, note):
        if note[0]:
            die(str(note[0]))
        return {{"y": x}}
    return model
"""


class Dying:
    """``answer`` asks for an ordinary answer, and waits for a new worker if need be; ``die`` until the worker's death
    is known."""

    def __init__(self, answer: Callable[[], Any], die: Callable[[str], None], until_calm: Callable[[], Any]) -> None:
        self.answer = answer
        self.die = die
        self.until_calm = until_calm  # spare workers are up


def times(way: str, deaths: int) -> dict[str, float]:
    """Milliseconds from the death: until it is known (p50 and p99), and until the next answer (median)."""
    noticed, recovered = [], []
    with tempfile.TemporaryDirectory() as folder, _WAYS[way]() as dying:
        note = Path(folder) / "died-at.txt"
        for _ in range(deaths):
            dying.answer()
            dying.until_calm()
            dying.die(str(note))
            known = time.monotonic()
            dying.answer()
            answered = time.monotonic()
            died = float(note.read_text())
            noticed.append((known - died) * _MS_PER_S)
            recovered.append((answered - died) * _MS_PER_S)
    return {**percentiles(noticed), "next answer": float(np.median(recovered))}


@contextmanager
def _neuropod(standby: int) -> Iterator[Dying]:
    inputs = [{"name": "x", "dtype": "float32", "shape": (None,)}, {"name": "note", "dtype": "string", "shape": (1,)}]
    outputs = inputs[:1]
    with packaged(_MODEL, inputs, [{**outputs[0], "name": "y"}]) as path, Runtime() as runtime:
        model = runtime.load(path, out_of_process=True, restart=RestartPolicy(standby=standby))
        x = np.zeros(8, np.float32)

        def die(note: str) -> None:
            try:
                model.infer({"x": x, "note": np.array([note])})
            except WorkerDied:
                return
            raise AssertionError("the worker answered")

        def until_calm() -> None:
            while sum(worker.state == "standby" for worker in model.workers) < standby:
                time.sleep(0.01)

        yield Dying(lambda: model.infer({"x": x, "note": np.array([""])}), die, until_calm)


@contextmanager
def _pipe() -> Iterator[Dying]:
    context = get_context("spawn")

    def start() -> tuple[Any, Connection]:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    process, connection = start()

    def answer() -> None:
        nonlocal process, connection
        if connection.closed:
            process.join()
            process, connection = start()
        connection.send_bytes(b"")
        connection.recv_bytes()

    def die(note: str) -> None:
        connection.send_bytes(note.encode())
        try:
            connection.recv_bytes()
        except EOFError:
            connection.close()

    try:
        yield Dying(answer, die, lambda: None)
    finally:
        connection.close()
        process.join()


def _serve(connection: Connection) -> None:
    while True:
        try:
            note = connection.recv_bytes()
        except EOFError:
            return
        if note:
            die(note.decode())
        connection.send_bytes(b"")


_WAYS: dict[str, Any] = {
    "neuropod": lambda: _neuropod(standby=0),
    "standby": lambda: _neuropod(standby=1),
    "pipe": _pipe,
}
