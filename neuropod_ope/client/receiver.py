"""Which of the threads that wait for one worker receives. No I/O, no clock and no process of its own.

Exactly one thread at a time holds the role: the first that waits. It completes the others' calls, too, and when it
leaves, it wakes one of those that still wait to take over. So a lone caller pays for no second thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Awaited(Protocol):
    """What a thread waits for."""

    @property
    def done(self) -> bool: ...


class ReceiverRole:
    """``receive(seconds)`` waits at most so long for something to arrive and completes what has arrived; it runs in
    one thread at a time. Whoever completes something that another thread may wait for calls ``completed``.

    Waits look around every ``slice_s`` seconds, so that nothing that was overlooked lasts.
    """

    def __init__(
        self,
        receive: Callable[[float], None],
        slice_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receive = receive
        self._slice_s = slice_s
        self._clock = clock
        # An RLock knows its owner: an interrupt can fall between taking the role and noting that it was taken. It can
        # also fall into any function of Python's, so whoever takes the role gives it back with a bare ``end`` in a
        # ``finally``, in which no interrupt can come before it.
        role = threading.RLock()
        self._begin = role.acquire
        self.end = role.release  # raises RuntimeError if it is not this thread's
        self._lock = threading.Lock()
        self._waiters: dict[threading.Event, Awaited] = {}

    def wait(self, awaited: Awaited, deadline: float | None) -> bool:
        """Block until ``awaited`` is done: True, or False after ``deadline`` (on the clock)."""
        followed = False
        while not awaited.done:
            seconds = self._slice_s if deadline is None else deadline - self._clock()
            receiving = False
            try:
                receiving = self.begin()
                while receiving and not awaited.done and seconds > 0:
                    self._receive(min(seconds, self._slice_s))
                    if deadline is not None:
                        seconds = deadline - self._clock()
            finally:
                try:
                    self.end()
                except RuntimeError:
                    pass
                else:
                    self.hand_on()
            if not receiving and seconds > 0:
                followed = True
                self._follow(awaited, min(seconds, self._slice_s))
            if seconds <= 0:
                break
        done = awaited.done
        if (followed or not done) and self._free():
            self.hand_on()  # we may have been woken to take over
        return done

    def begin(self) -> bool:
        """Take the role, if nobody has it."""
        return self._begin(False)

    def hand_on(self) -> None:
        """Have one of those that wait take over. To be called after ``end``."""
        if self._waiters:
            with self._lock:
                for event, awaited in self._waiters.items():
                    if not awaited.done:
                        event.set()
                        return

    def poke(self) -> None:
        """Receive what is there now, unless somebody is receiving already."""
        try:
            if self.begin():
                self._receive(0.0)
        finally:
            try:
                self.end()
            except RuntimeError:
                pass
            else:
                self.hand_on()

    def completed(self, awaited: object) -> None:
        """Wake those who wait for it."""
        if self._waiters:
            with self._lock:
                for event, other in self._waiters.items():
                    if other is awaited:
                        event.set()

    def _follow(self, awaited: Awaited, seconds: float) -> None:
        event = threading.Event()
        with self._lock:
            self._waiters[event] = awaited
        try:
            # Where nobody receives (any more), nobody would wake us.
            if not awaited.done and not self._free():
                event.wait(seconds)
        finally:
            with self._lock:
                del self._waiters[event]

    def _free(self) -> bool:
        try:
            return self.begin()
        finally:
            try:
                self.end()
            except RuntimeError:
                pass
