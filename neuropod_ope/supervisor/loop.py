"""The supervisor's thread: one per runtime, it waits for descriptors and calls back.

It does nothing per call of a model, so it costs nothing while workers are well. Callbacks are short; the longest is a
log handler of the application that takes its time over a line that a model printed.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from neuropod_ope.errors import HandleClosed

_log = logging.getLogger("neuropod_ope.supervisor")
_STARTING_S = 1.0  # for a thread to run its first line
_PIPE_BYTES = 65536  # a pipe of wake-ups holds no more


class Endable(Protocol):
    """A process under supervision."""

    def end(self, grace_s: float, because: str) -> None: ...

    def kill(self, because: str) -> None: ...


class SupervisorLoop:
    """Descriptors and what to do when they become readable. Thread-safe.

    The thread is started by the first ``call`` and ended by ``close``. All watching and unwatching happens in that
    thread, so a descriptor that is closed there cannot be mistaken for a later one of the same number.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._commands: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, Callable[[], None]]] = []  # due on time.monotonic
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._run_commands)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._running = threading.Event()
        self._closed = False
        self.processes: set[Endable] = set()  # that have not been reaped yet; `close` ends them

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever ``fd`` is readable or hung up. Only from the supervisor's thread."""
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def unwatch(self, fd: int) -> None:
        """Stop watching, if it is watched. Only from the supervisor's thread."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def call(self, command: Callable[[], None]) -> None:
        """Run ``command`` in the supervisor's thread soon. Raises HandleClosed after ``close``."""
        with self._lock:
            if self._closed:
                raise HandleClosed("this runtime is closed: make another one")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="neuropod-supervisor", daemon=True)
                try:
                    self._thread.start()
                except BaseException:  # interrupted or refused: whether it runs is not known, so it is to end
                    self._closed = True
                    raise
            self.post(command)

    def post(self, command: Callable[[], None]) -> None:
        """The same without a lock, for finalizers, which run in any thread; forgotten where no thread runs."""
        self._commands.append(command)
        try:
            os.write(self._wake_write, b"\0")
        except OSError:
            pass  # many wake-ups are pending already, or the loop is closed

    def call_later(self, seconds: float, command: Callable[[], None]) -> None:
        """Run ``command`` after ``seconds``. Only from the supervisor's thread."""
        self._timers.append((time.monotonic() + seconds, command))

    def _run(self) -> None:
        self._running.set()
        while self.processes or not self._closed:
            self._run_ready()
        self._close_descriptors()

    def _run_ready(self) -> None:
        """One round. A function of its own, so that nothing of a dead worker is held while the next one waits."""
        now = time.monotonic()
        for timer in [timer for timer in self._timers if timer[0] <= now]:
            self._timers.remove(timer)
            self._guarded(timer[1])
        timeout = min((due - now for due, _ in self._timers), default=None)
        for key, _ in self._selector.select(timeout):
            # A callback before this one may have stopped watching it.
            if self._selector.get_map().get(key.fileobj) is key:
                self._guarded(key.data)

    def _run_commands(self) -> None:
        os.read(self._wake_read, _PIPE_BYTES)
        while self._commands:
            self._guarded(self._commands.popleft())

    def _guarded(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:  # a bug in one worker's callback must not end the supervision of the others
            _log.exception("a supervisor callback failed")

    def close(self) -> None:
        """End all processes, then the thread, and wait for both. Idempotent."""
        for process in list(self.processes):
            process.end(0.0, "its runtime was closed")
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
        if thread is None or not self._running.wait(_STARTING_S):
            self._close_descriptors()
        elif thread is not threading.current_thread():
            self.post(lambda: None)
            thread.join()

    def abandon(self) -> None:
        """End all processes and then the thread, without waiting and without a lock: for a finalizer."""

        def end() -> None:
            self._closed = True
            for process in list(self.processes):
                process.kill("its runtime is gone")

        self.post(end)

    def forget(self) -> None:
        """In a forked child of the application: the thread stayed with the parent."""
        self._closed = True
        self._thread = None
        self._lock = threading.Lock()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        # Nobody writes to a number that may be another file's by now.
        fd, self._wake_write = self._wake_write, -1
        if fd != -1:
            os.close(fd)
            os.close(self._wake_read)
            self._selector.close()
