"""A thread that is started when there is first something to do, sleeps when there is nothing, and can be ended."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

_log = logging.getLogger("neuropod_ope.client")


class Background:
    """Runs ``work`` in one daemon thread: after each ``wake``, and when the seconds that ``work`` returned are over.

    ``end`` lets ``work`` run once more, so that it can see why, and takes no lock: the garbage collector may call it
    in any thread, also in this one.
    """

    def __init__(self, name: str, work: Callable[[], float | None]) -> None:
        self._name = name
        self._work = work
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()  # its put is safe in a finalizer
        self._woken = False
        self._ended = False
        self._started = False
        self._starting = threading.Lock()
        self._running = threading.Lock()
        self._threads: list[threading.Thread] = []

    def wake(self) -> None:
        """Have ``work`` run soon; what it is to see must be there already."""
        if not self._started:
            self._start()
        if not self._woken:
            self._woken = True
            self._tokens.put(None)

    def _start(self) -> None:
        with self._starting:
            if not self._started:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._threads.append(thread)
                thread.start()  # an interrupt may leave it running or not; if it runs, the next one ends at once
                self._started = True

    def end(self) -> None:
        """Have the thread end after a last run. Idempotent."""
        self._ended = True
        self._tokens.put(None)

    def join(self) -> None:
        """Wait for the thread's end, unless this is the thread."""
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join()

    def _run(self) -> None:
        if not self._running.acquire(blocking=False):
            return
        seconds: float | None = 0.0
        while True:
            try:
                self._tokens.get(timeout=seconds)
            except queue.Empty:
                pass
            self._woken = False  # before the work: what comes while it runs is another token
            ended = self._ended
            try:
                seconds = self._work()
            except BaseException:  # of an application's callback; the thread serves others, too
                _log.exception("%s: a callback of a future failed", self._name)
                seconds = 0.0
                continue
            if ended:
                return
