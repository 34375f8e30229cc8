"""``multiprocessing.Pipe`` carrying the bytes of the arrays: the least that a pipe costs."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.cases import Case
from benchmarks.contenders import Exchange
from benchmarks.contenders.messages import Adder, Sender
from benchmarks.spawned import messages_of, spawned


def connected(case: Case) -> AbstractContextManager[Connection]:
    """Our end of the pipe of a worker that answers every message of a `Sender`."""
    return spawned(_serve, case)


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
    for message in messages_of(connection):
        connection.send_bytes(adder.answer(message))
