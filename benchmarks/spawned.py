"""A process beside this one, and the messages that it gets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any


@contextmanager
def spawned(serve: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """Our end of a pipe to a process that runs ``serve(*arguments, connection)`` until we close it."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(*arguments, theirs), daemon=True)
    process.start()
    theirs.close()
    with ours:
        yield ours
    process.join()


def messages_of(connection: Connection) -> Iterator[bytes]:
    """Until the other end is closed."""
    while True:
        try:
            yield connection.recv_bytes()
        except EOFError:
            return
