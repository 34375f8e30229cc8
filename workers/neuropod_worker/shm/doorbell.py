"""Doorbells: how one process wakes another.

A doorbell counts: it is rung for a message whose reader sleeps (`control.Mailbox.wake`), and every successful wait
takes one ring. A ring without a message can happen (the supervisor rings for a dead worker) and is harmless.
"""

import ctypes
import math
import os
import select
import time
from typing import Optional

from neuropod_worker.shm.libc import keeping_gil, raise_errno, releasing_gil
from neuropod_worker.shm.mapping import Mapping

DOORBELLS = ("semaphore", "pipe")
_LONGEST_POLL_S = 10**6  # its milliseconds are a C int


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def best_doorbell() -> str:
    """The kind for this libc: a semaphore if it can wait on the monotonic clock (glibc 2.30). What all have,
    ``sem_timedwait``, waits for a time of the wall clock: set back by an hour, it would be an hour late."""
    return "semaphore" if hasattr(releasing_gil, "sem_clockwait") else "pipe"


class SemaphoreDoorbell:
    """An unnamed process-shared ``sem_t`` inside a shared mapping: no name, so nothing that can be left behind.

    Where `best_doorbell` says so.
    """

    def __init__(self, mapping: Mapping, offset: int, create: bool) -> None:
        self._mapping = mapping
        self._semaphore = ctypes.c_void_p(mapping.address + offset)
        self._post = keeping_gil["sem_post"]
        self._try = keeping_gil["sem_trywait"]
        self._timed = releasing_gil["sem_clockwait"]
        if create and keeping_gil.sem_init(self._semaphore, 1, 0):
            raise_errno("sem_init")

    def ring(self) -> None:
        self._post(self._semaphore)

    def try_wait(self) -> bool:
        """Take a ring if there is one. Keeps the GIL: 0.2 us."""
        return not self._try(self._semaphore)

    def wait(self, seconds: float) -> bool:
        """Take a ring, or return False after ``seconds`` or a signal. Releases the GIL."""
        until = time.monotonic() + seconds  # CLOCK_MONOTONIC, where there is such a semaphore
        timespec = _Timespec(int(until), int(until % 1 * 1e9))
        return not self._timed(self._semaphore, ctypes.c_int(time.CLOCK_MONOTONIC), ctypes.byref(timespec))

    def close(self) -> None:
        """Nothing to give back: the memory goes with its mapping."""


class PipeDoorbell:
    """The portable twin: a byte in a pipe for each ring. Both ends in both processes; the client makes it."""

    def __init__(self, read_end: int, write_end: int) -> None:
        self._read_end: Optional[int] = read_end
        self._write_end: Optional[int] = write_end
        os.set_blocking(read_end, False)
        os.set_blocking(write_end, False)

    def ring(self) -> None:
        end = self._write_end
        if end is None:
            return  # closed: nobody waits any more
        try:
            os.write(end, b"\0")
        except BlockingIOError:
            pass  # thousands of rings are waiting already: the peer is awake or dead

    def try_wait(self) -> bool:
        end = self._read_end
        if end is None:
            return False
        try:
            return bool(os.read(end, 1))
        except BlockingIOError:
            return False

    def wait(self, seconds: float) -> bool:
        end = self._read_end
        if end is None:
            return False
        # Not select.select, which knows descriptors below 1024 only.
        poll = select.poll()
        poll.register(end, select.POLLIN)
        poll.poll(math.ceil(min(seconds, _LONGEST_POLL_S) * 1000))
        return self.try_wait()

    def close(self) -> None:
        ends = (self._read_end, self._write_end)
        self._read_end = self._write_end = None
        for end in ends:
            if end is not None:
                os.close(end)
