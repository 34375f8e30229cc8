"""``multiprocessing.shared_memory``: copy in, compute there, read the answer in place.

Rung by a pipe, it is what one would build by hand. Rung by a flag that both sides watch without ever sleeping,
it is the floor: no checks, one caller, one size, a core burnt on each side, no notice taken of a death.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from benchmarks.contender import Call, Contender

_ASKED, _ANSWERED, _FLAGS_SIZE = 0, 8, 16  # positions in the flags, a cache line apart from each other
_END = 2**64 - 1
_FLAG_BYTES = 8  # of the format Q
_FLOAT_BYTES = 4


class _View:
    """Both arrays and the flags in a segment; they have to be gone before it can be closed."""

    def __init__(self, memory: SharedMemory, size_bytes: int) -> None:
        assert memory.buf is not None  # it is open
        flags_bytes = _FLAGS_SIZE * _FLAG_BYTES
        elements = size_bytes // _FLOAT_BYTES
        self.flags = memory.buf[:flags_bytes].cast("Q")
        self.given = np.frombuffer(memory.buf, np.float32, elements, flags_bytes)
        self.answer = np.frombuffer(memory.buf, np.float32, elements, flags_bytes + size_bytes)

    def release(self) -> None:
        self.flags.release()
        del self.given, self.answer


@contextmanager
def _view(size_bytes: int, name: str | None = None) -> Iterator[tuple[_View, str]]:
    """A new segment, or the one of that name."""
    total = _FLAGS_SIZE * _FLAG_BYTES + 2 * size_bytes
    memory = SharedMemory(name, create=name is None, size=total)
    view = _View(memory, size_bytes)
    try:
        yield view, memory.name
    finally:
        view.release()
        memory.close()
        if name is None:
            memory.unlink()


@contextmanager
def _rung_by_pipe(size_bytes: int) -> Iterator[Call]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    with _view(size_bytes) as (view, name):
        process = context.Process(target=_serve_pipe, args=(name, size_bytes, theirs), daemon=True)
        process.start()
        theirs.close()

        def call(x: np.ndarray) -> np.ndarray:
            view.given[:] = x
            ours.send_bytes(b"x")
            ours.recv_bytes()
            return view.answer

        with ours:
            yield call
        process.join()


def _serve_pipe(name: str, size_bytes: int, connection: Connection) -> None:
    with _view(size_bytes, name) as (view, _):
        while True:
            try:
                connection.recv_bytes()
            except EOFError:
                return
            np.add(view.given, 0, out=view.answer)
            connection.send_bytes(b"y")


@contextmanager
def _rung_by_flag(size_bytes: int) -> Iterator[Call]:
    with _view(size_bytes) as (view, name):
        process = get_context("spawn").Process(target=_serve_flag, args=(name, size_bytes), daemon=True)
        process.start()
        flags = view.flags

        # Plain stores do for a flag on x86 only; elsewhere the answer could be seen before its data.
        def call(x: np.ndarray) -> np.ndarray:
            view.given[:] = x
            number = flags[_ASKED] + 1
            flags[_ASKED] = number
            while flags[_ANSWERED] != number:
                pass
            return view.answer

        try:
            yield call
        finally:
            flags[_ASKED] = _END
            process.join()


def _serve_flag(name: str, size_bytes: int) -> None:
    with _view(size_bytes, name) as (view, _):
        flags = view.flags
        answered = 0
        while True:
            while (asked := flags[_ASKED]) == answered:
                pass
            if asked == _END:
                return
            np.add(view.given, 0, out=view.answer)
            flags[_ANSWERED] = answered = asked


BARE = Contender("shared memory, spinning", _rung_by_flag)
CONTENDERS = (BARE, Contender("shared memory + Pipe", _rung_by_pipe))
