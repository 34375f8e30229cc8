"""``multiprocessing.Pipe`` carrying the bytes of the arrays, without pickling: the least that a pipe costs."""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.contender import Call, Contender


@contextmanager
def _opened(size_bytes: int) -> Iterator[Call]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()

    def call(x: np.ndarray) -> np.ndarray:
        ours.send_bytes(x.data.cast("B"))
        return np.frombuffer(ours.recv_bytes(), np.float32)

    with ours:
        yield call
    process.join()


def _serve(connection: Connection) -> None:
    while True:
        try:
            x = np.frombuffer(connection.recv_bytes(), np.float32)
        except EOFError:
            return
        connection.send_bytes((x + 0).data.cast("B"))


CONTENDERS = (Contender("Pipe", _opened),)
