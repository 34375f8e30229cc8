"""The supervisor's thread: one per runtime, it waits for descriptors and calls back.

It does nothing per call of a model, so it costs nothing while workers are well; its callbacks never block.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable

_log = logging.getLogger("neuropod_ope.supervisor")


class SupervisorLoop:
    """Descriptors and what to do when they become readable. Thread-safe.

    The thread is started by the first ``watch`` and ended by ``close``.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._commands: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._run_commands)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the supervisor's thread whenever ``fd`` is readable or hung up."""
        self.call(lambda: self._register(fd, callback))

    def _register(self, fd: int, callback: Callable[[], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def unwatch(self, fd: int) -> None:
        """Stop watching. Only from the supervisor's thread."""
        self._selector.unregister(fd)

    def call(self, command: Callable[[], None]) -> None:
        """Run ``command`` in the supervisor's thread soon."""
        with self._lock:
            if self._closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="neuropod-supervisor", daemon=True)
                self._thread.start()
            self._commands.append(command)
            self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass  # many wake-ups are pending already

    def _run(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select():
                if key.fileobj not in self._selector.get_map():
                    continue  # a callback before this one stopped watching it
                try:
                    key.data()
                except Exception:  # a bug in one worker's callback must not end the supervision of the others
                    _log.exception("a supervisor callback failed")
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run_commands(self) -> None:
        os.read(self._wake_read, 4096)
        while self._commands:
            self._commands.popleft()()

    def close(self) -> None:
        """End the thread and wait for it; nothing is watched any more."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
            if thread is not None:
                self._wake()
        if thread is None:
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
        elif thread is not threading.current_thread():
            thread.join()
