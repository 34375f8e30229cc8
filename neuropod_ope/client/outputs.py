"""The outputs of a reply, as arrays that the caller may keep.

Small outputs are copied. Larger ones are views of the worker's arena with one owner for the whole reply; the
worker gets the memory back when the last view, or view of a view, is gone. Views stay valid after the model is
closed and after the worker died, because the owner keeps the mapping.
"""

from __future__ import annotations

import os
from collections import deque

import numpy as np

from neuropod_worker.shm.frames import ReceivedFrame
from neuropod_worker.shm.placed import COPIED_BYTES, SharedFile

HELD_LIMIT = 2**30  # bytes of views per worker; beyond that outputs are copied: keeping results is no error


# How often this process was forked. A child of the application shares the memory of the outputs that it inherits, so
# what was held at a fork is never handed out again: later results would appear in the child's arrays.
_forks = [0]


def _count_fork() -> None:
    _forks[0] += 1


os.register_at_fork(after_in_parent=_count_fork)


class _Owner:
    """Holds a reply's frame, as the bytes that it covers. Neither an ndarray nor a memoryview: numpy would look
    through those and take the arena itself as the base of a view of a view, and the frame would be released under
    it. As the ``owner`` of `shm.placed` it lets outputs be the inputs of another model without a copy."""

    def __init__(self, file: SharedFile, start: int, end: int, frame: ReceivedFrame, reader: OutputReader) -> None:
        self.file = file
        self.start = start
        self.nbytes = end - start
        self._frame = frame
        self._reader = reader
        self._forks = _forks[0]
        self.__array_interface__ = {
            "data": (file.mapping.address + start, False),
            "shape": (end - start,),
            "typestr": "|u1",
            "version": 3,
        }

    def lend(self, array: np.ndarray) -> None:
        """Another worker reads ``array``; whoever lends it keeps it, and us with it."""

    def take_back(self) -> None:
        pass

    def __del__(self) -> None:
        # Runs wherever the garbage collector happens to be, so it takes no lock.
        if self._forks == _forks[0]:
            self._reader.released.append(self._frame.id)
        self._reader.let_go.append(self._frame.nbytes)


class OutputReader:
    """Turns frames of one worker into outputs. ``released`` holds the frames that it may have back.

    One thread at a time calls ``read``.
    """

    def __init__(self, file: SharedFile) -> None:
        self._file = file
        self._held = 0
        self.released: deque[int] = deque()
        self.let_go: deque[int] = deque()  # bytes of views that are gone

    def read(self, frame: ReceivedFrame) -> dict[str, np.ndarray]:
        """The tensors of ``frame``, by name."""
        if frame.nbytes <= COPIED_BYTES or self._held_now() + frame.nbytes > HELD_LIMIT:
            outputs = frame.copies()
            self.released.append(frame.id)
            return outputs
        self._held += frame.nbytes
        outputs = frame.arrays()
        start = min(tensor.offset for tensor in frame.tensors)
        end = max(tensor.offset + tensor.nbytes for tensor in frame.tensors)
        memory = np.asarray(_Owner(self._file, start, end, frame, self))
        for tensor in frame.tensors:
            if tensor.dtype != "string":
                array = outputs[tensor.name]
                own = memory[tensor.offset - start : tensor.offset - start + tensor.nbytes]
                outputs[tensor.name] = own.view(array.dtype).reshape(array.shape)
        return outputs

    def _held_now(self) -> int:
        while self.let_go:
            self._held -= self.let_go.popleft()
        return self._held
