"""Starts the worker processes of a model, and ends all that it has started."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import Protocol

from neuropod_ope.client.connection import Connection
from neuropod_ope.client.handshake import Launch
from neuropod_ope.client.health import Signs
from neuropod_ope.errors import HandleClosed
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_ope.supervisor.process import WorkerProcess

_CLOSED = "its model was closed"
CLOSE_GRACE_S = 1.0  # what an idle worker gets to exit by itself


class Serving(Protocol):
    """Where a model is loaded: into workers that it has to itself, or into its seat in a shared one."""

    @property
    def closed(self) -> bool: ...

    def connection(self, deadline: float | None) -> Connection:
        """A live worker that the model is not loaded in. Raises HandleClosed and what `handshake.connect` raises."""
        ...

    def alive(self) -> tuple[list[WorkerProcess], list[Connection]]:
        """Processes that are starting, and workers that have started and live; each is one of them at any time."""
        ...

    def close(self) -> None: ...

    def abandon(self) -> None: ...


def signs_of_start(process: WorkerProcess) -> Signs:
    """What can be seen of a process that has not said that it is a worker yet."""
    letter = process.kernel_state
    seconds = time.monotonic() - process.started_at
    return Signs(process.pid, letter in ("Z", "X"), letter in ("T", "t"), "starting", seconds, 0, True)


class Worker:
    """Implements Serving. Each ``connection`` is that of a fresh process. Thread-safe."""

    def __init__(self, launch: Launch, name: str, loop: SupervisorLoop, logger: logging.Logger) -> None:
        self._launch = launch
        self._name = name
        self._loop = loop
        self._logger = logger
        self._starting: set[WorkerProcess] = set()
        self._connections: list[Connection] = []
        self._lock = threading.Lock()  # around changes of both
        self.closed = False

    def connection(self, deadline: float | None) -> Connection:
        self._check_open()
        started: list[WorkerProcess] = []

        def note(process: WorkerProcess) -> None:
            started.append(process)
            with self._lock:
                self._starting.add(process)
            if self.closed:
                process.kill(_CLOSED)

        try:
            connection = Connection(self._launch, self._name, self._loop, self._logger, deadline, note)
            with self._lock:
                self._connections = [one for one in self._connections if one.state != "dead"] + [connection]
                self._starting.difference_update(started)
        except Exception:  # ours, re-raised below unless the close explains it
            self._check_open()  # closed while it was starting: that is then why it did not come up
            raise
        finally:
            with self._lock:
                self._starting.difference_update(started)
        return connection

    def alive(self) -> tuple[list[WorkerProcess], list[Connection]]:
        with self._lock:
            return list(self._starting), [connection for connection in self._connections if connection.live]

    def _check_open(self) -> None:
        if self.closed:
            raise HandleClosed(f"the worker of model {self._name!r} is closed")

    def close(self) -> None:
        """End the processes, also those that are still starting, and wait for their ends. Calls in flight fail."""
        self.closed = True
        for process in list(self._starting):
            process.end(0.0, _CLOSED)
        for connection in self._connections:
            connection.close(CLOSE_GRACE_S)

    def abandon(self) -> None:
        """Have the processes killed, without waiting and without a lock."""
        self.closed = True
        for process in {*self._starting, *(connection.process for connection in self._connections)}:
            self._loop.post(partial(process.kill, _CLOSED))
