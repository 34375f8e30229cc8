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
def open_pipe(case: Case) -> Iterator[Exchange]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(case, theirs), daemon=True)
    process.start()
    theirs.close()
    sender = Sender(case)

    def call() -> list[np.ndarray]:
        ours.send_bytes(sender.message())
        return sender.answers(ours.recv_bytes())

    with ours:
        yield Exchange(sender.inputs, call)
    process.join()


def _serve(case: Case, connection: Connection) -> None:
    adder = Adder(case)
    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(adder.answer(message))
