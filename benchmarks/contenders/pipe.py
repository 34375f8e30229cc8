"""``multiprocessing.Pipe`` carrying the bytes of the arrays: the least that a pipe costs."""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.cases import Case
from benchmarks.contenders import Exchange
from benchmarks.contenders.messages import Adder, Sender


@contextmanager
def connected(case: Case) -> Iterator[Connection]:
    """Our end of the pipe of a worker that answers every message of a `Sender`."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(case, theirs), daemon=True)
    process.start()
    theirs.close()
    with ours:
        yield ours
    process.join()


@contextmanager
def open_pipe(case: Case) -> Iterator[Exchange]:
    sender = Sender(case)
    with connected(case) as connection:

        def call() -> list[np.ndarray]:
            connection.send_bytes(sender.message())
            return sender.answers(connection.recv_bytes())

        yield Exchange(sender.inputs, call)


def _serve(case: Case, connection: Connection) -> None:
    adder = Adder(case)
    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(adder.answer(message))
