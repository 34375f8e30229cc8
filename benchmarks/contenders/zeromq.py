"""pyzmq: request and reply over ``ipc://``, one frame of raw bytes, received without a copy into Python."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np
import zmq

from benchmarks.cases import Case
from benchmarks.contenders import Exchange
from benchmarks.contenders.messages import Adder, Sender


@contextmanager
def open_ipc(case: Case) -> Iterator[Exchange]:
    sender = Sender(case)
    with tempfile.TemporaryDirectory() as folder, zmq.Context() as context, context.socket(zmq.PAIR) as socket:
        address = f"ipc://{folder}/socket"
        socket.bind(address)
        process = get_context("spawn").Process(target=_serve, args=(case, address), daemon=True)
        process.start()

        def call() -> list[np.ndarray]:
            socket.send(sender.message())
            return sender.answers(socket.recv(copy=False).buffer)

        yield Exchange(sender.inputs, call)
        socket.send(b"")
        process.join()


def _serve(case: Case, address: str) -> None:
    adder = Adder(case)
    with zmq.Context() as context, context.socket(zmq.PAIR) as socket:
        socket.connect(address)
        while message := socket.recv(copy=False).buffer:
            socket.send(adder.answer(message))
