"""``multiprocessing.shared_memory``, with the answer read in place.

Rung by a pipe, it is what one would build by hand. Rung by a flag that both sides watch without ever sleeping,
it is the floor: no checks, one caller, one size, a core burnt on each side, no notice taken of a death.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from benchmarks.cases import Case
from benchmarks.contenders import Exchange
from benchmarks.contenders.messages import add
from benchmarks.spawned import messages_of, spawned

_ASKED, _ANSWERED, _FLAGS_SIZE = 0, 8, 16  # positions in the flags, a cache line apart from each other
_END = 2**64 - 1
_FLAG_BYTES = 8  # of the format Q


class _View:
    """Both sets of tensors and the flags in a segment; they have to be gone before it can be closed."""

    def __init__(self, memory: SharedMemory, case: Case) -> None:
        assert memory.buf is not None  # it is open
        flags_bytes = _FLAGS_SIZE * _FLAG_BYTES
        self.flags = memory.buf[:flags_bytes].cast("Q")
        self.given = case.views(memory.buf, flags_bytes)
        self.answers = case.views(memory.buf, flags_bytes + case.nbytes)

    def release(self) -> None:
        self.flags.release()
        self.given.clear()
        self.answers.clear()


@contextmanager
def _view(case: Case, name: str | None = None) -> Iterator[tuple[_View, str]]:
    """A new segment, or the one of that name."""
    total = _FLAGS_SIZE * _FLAG_BYTES + 2 * case.nbytes
    memory = SharedMemory(name, create=name is None, size=total)
    view = _View(memory, case)
    try:
        yield view, memory.name
    finally:
        view.release()
        memory.close()
        if name is None:
            memory.unlink()


def _place(arrays: list[np.ndarray], places: list[np.ndarray]) -> None:
    for array, place in zip(arrays, places, strict=True):
        place[...] = array


@contextmanager
def open_with_pipe(case: Case) -> Iterator[Exchange]:
    with _view(case) as (view, name), spawned(_serve_pipe, name, case) as connection:
        inputs = case.arrays()

        def call() -> list[np.ndarray]:
            _place(inputs, view.given)
            connection.send_bytes(b"x")
            connection.recv_bytes()
            return view.answers

        yield Exchange(inputs, call)


def _serve_pipe(name: str, case: Case, connection: Connection) -> None:
    with _view(case, name) as (view, _):
        for _ in messages_of(connection):
            add(view.given, view.answers)
            connection.send_bytes(b"y")


@contextmanager
def open_copied_in(case: Case) -> Iterator[Exchange]:
    with _spinning(case) as (view, flags):
        inputs = case.arrays()
        places = view.given

        # Plain stores do for a flag on x86 only; elsewhere the answer could be seen before its data.
        def call() -> list[np.ndarray]:
            for x, place in zip(inputs, places):  # noqa: B905 - the floor checks nothing
                place[...] = x
            number = flags[_ASKED] + 1
            flags[_ASKED] = number
            while flags[_ANSWERED] != number:
                pass
            return view.answers

        yield Exchange(inputs, call)


@contextmanager
def open_in_place(case: Case) -> Iterator[Exchange]:
    with _spinning(case) as (view, flags):

        def call() -> list[np.ndarray]:
            number = flags[_ASKED] + 1
            flags[_ASKED] = number
            while flags[_ANSWERED] != number:
                pass
            return view.answers

        yield Exchange(view.given, call)


@contextmanager
def _spinning(case: Case) -> Iterator[tuple[_View, memoryview]]:
    with _view(case) as (view, name):
        process = get_context("spawn").Process(target=_serve_flag, args=(name, case), daemon=True)
        process.start()
        try:
            yield view, view.flags
        finally:
            view.flags[_ASKED] = _END
            process.join()


def _serve_flag(name: str, case: Case) -> None:
    with _view(case, name) as (view, _):
        flags = view.flags
        answered = 0
        if case.count == 1:  # the floor has no loop that its case does not need
            x, y = view.given[0], view.answers[0]
        while True:
            while (asked := flags[_ASKED]) == answered:
                pass
            if asked == _END:
                break
            if case.count == 1:
                np.add(x, 0, out=y)
            else:
                add(view.given, view.answers)
            flags[_ANSWERED] = answered = asked
        if case.count == 1:
            del x, y
