"""Which of the threads that wait for one worker receives. No I/O, no clock and no process of its own.

Exactly one thread at a time holds the role: the first that waits. It completes the others' calls, too, and when it
leaves, it wakes one of those that still wait to take over. So a lone caller pays for no second thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


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
        # An RLock knows its owner: an interrupt can fall between taking the role and noting that it was taken.
        role = threading.RLock()
        self._begin, self._end = role.acquire, role.release
        self._lock = threading.Lock()
        self._waiters: dict[threading.Event, Awaited] = {}

    def wait(self, awaited: Awaited, deadline: float | None) -> bool:
        """Block until ``awaited`` is done: True, or False after ``deadline`` (on the clock)."""
        followed = False
        while not awaited.done and (seconds := self._seconds_until(deadline)) > 0:
            if self.run(self._receive_until, awaited, deadline) is None:
                followed = True
                self._follow(awaited, seconds)
        done = awaited.done
        if followed or not done:
            self.run(_nothing)  # we may have been woken to take over
        return done

    def run(self, act: Callable[..., T], *arguments: Any) -> T | None:
        """What ``act(*arguments)`` gives, called in the role; None if somebody else has that."""
        try:
            return act(*arguments) if self._begin(False) else None
        finally:
            # A bare call: an interrupt can come at the first line of any Python function, but not before this one.
            try:
                self._end()
            except RuntimeError:  # it is somebody else's
                pass
            else:
                if self._waiters:
                    self._hand_on()

    def poke(self) -> None:
        """Receive what is there now, unless somebody is receiving already."""
        self.run(self._receive, 0.0)

    def completed(self, awaited: object) -> None:
        """Wake those who wait for it."""
        if self._waiters:
            with self._lock:
                for event, other in self._waiters.items():
                    if other is awaited:
                        event.set()

    def _seconds_until(self, deadline: float | None) -> float:
        """A slice at most."""
        return self._slice_s if deadline is None else min(deadline - self._clock(), self._slice_s)

    def _receive_until(self, awaited: Awaited, deadline: float | None) -> bool:
        while not awaited.done and (seconds := self._seconds_until(deadline)) > 0:
            self._receive(seconds)
        return True

    def _follow(self, awaited: Awaited, seconds: float) -> None:
        event = threading.Event()
        with self._lock:
            self._waiters[event] = awaited
        try:
            # Where nobody receives (any more), nobody would wake us.
            if not awaited.done and self.run(_nothing) is None:
                event.wait(seconds)
        finally:
            with self._lock:
                del self._waiters[event]

    def _hand_on(self) -> None:
        with self._lock:
            for event, awaited in self._waiters.items():
                if not awaited.done:
                    event.set()
                    return


def _nothing() -> bool:
    return True
