"""gRPC over a Unix socket: one unary method of raw bytes, without protobuf."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import grpc
import numpy as np

from benchmarks.cases import Case
from benchmarks.contenders import Exchange
from benchmarks.contenders.messages import Adder, Sender
from benchmarks.spawned import spawned

_UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


@contextmanager
def open_unix(case: Case) -> Iterator[Exchange]:
    sender = Sender(case)
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/socket"
        with spawned(_serve, case, address) as connection, grpc.insecure_channel(address, _UNLIMITED) as channel:
            connection.recv_bytes()  # it listens
            method = channel.unary_unary("/benchmark/add")

            def call() -> list[np.ndarray]:
                return sender.answers(method(bytes(sender.message())))

            yield Exchange(sender.inputs, call)


def _serve(case: Case, address: str, client: Connection) -> None:
    adder = Adder(case)

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda message, context: bytes(adder.answer(message)))

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Handler()], options=_UNLIMITED)
    server.add_insecure_port(address)
    server.start()
    client.send_bytes(b"listening")
    try:
        client.recv_bytes()
    except EOFError:  # the client is done
        server.stop(None).wait()
