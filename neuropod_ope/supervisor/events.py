"""What happens to the worker of a model: a record in the log, and an `Event` for the application's callback."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from neuropod_ope.errors import NeuropodError
from neuropod_ope.supervisor.startup import Startup

_log = logging.getLogger("neuropod_ope.supervisor")
_DELIVERED_S = 1.0  # how long a close waits for a callback that takes its time

# Every event of the table `states.MODEL`, and of spare workers: how loudly it is logged.
LEVELS = {
    "start": logging.INFO,
    "loaded": logging.INFO,
    "failed": logging.ERROR,
    "restart": logging.WARNING,
    "back off": logging.WARNING,
    "give up": logging.ERROR,
    "take over": logging.WARNING,
    "spare ready": logging.INFO,
    "spare lost": logging.WARNING,
    "close": logging.INFO,
}


@dataclass(frozen=True)
class Event:
    """A transition of a model. ``event`` and ``state``, the state after it, are names of docs/supervision.md.

    ``pid`` is the worker's that it is about, where there is one; ``restarts`` counts fresh workers after the first;
    ``delay`` (seconds) until the next start, of "back off"; ``cause`` is the error that led to it; ``at`` is
    a time on `time.monotonic`; ``startup`` tells how long the start took of a worker that serves from now on, or
    stands by."""

    model: str
    event: str
    state: str
    at: float
    pid: int | None = None
    restarts: int = 0
    delay: float = 0.0
    cause: NeuropodError | None = None
    startup: Startup | None = None

    def __str__(self) -> str:
        text = f"model {self.model!r}: {self.event}, now {self.state}"
        if self.pid is not None:
            text += f" (pid {self.pid}, {self.restarts} restarts)"
        if self.delay:
            text += f"; the next start is in {self.delay:.1f} s"
        if self.startup is not None:
            text += f", started in {self.startup}"
        # The first line says what happened; what the worker printed is in the log already.
        return f"{text}: {str(self.cause).partition(chr(10))[0]}" if self.cause is not None else text


class Reporter:
    """Logs events, and gives them to ``on_event`` one after the other in a thread of their own, so that the callback
    may take its time, close the model or call it. The thread lives only while there is something to tell.

    Each record carries the event as its attribute ``neuropod_event``.
    """

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self._on_event = on_event
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._lock = threading.RLock()  # a signal handler that closes the model may find its own thread in here
        self._thread: threading.Thread | None = None

    def report(self, event: Event) -> None:
        """Log it and have it delivered. From any thread."""
        _log.log(LEVELS[event.event], "%s", event, extra={"neuropod_event": event})
        if self._on_event is None:
            return
        with self._lock:
            self._events.put(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._deliver, name="neuropod-events", daemon=True)
                self._thread.start()

    def _deliver(self) -> None:
        assert self._on_event is not None
        while True:
            with self._lock:
                if self._events.empty():
                    self._thread = None
                    return
                event = self._events.get()
            try:
                self._on_event(event)
            except Exception:  # the application's code; it must not end the telling, nor our supervision
                _log.exception("the on_event callback failed at %r", event.event)

    def wait_delivered(self) -> None:
        """Wait a moment for the callback to have heard everything, unless it is the callback that asks."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_DELIVERED_S)
