"""One model's place in a worker that serves several: to an executor it looks like a worker of the model's own."""

from __future__ import annotations

import threading
import time

from neuropod_ope.client.connection import Connection
from neuropod_ope.client.worker import CLOSE_GRACE_S, Worker
from neuropod_ope.errors import HandleClosed, InferTimeout
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_ope.supervisor.process import WorkerProcess


class SharedProcess:
    """The one process at a time that several models are loaded in; whoever asks first after a death starts it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._starting = threading.Lock()
        self.latest: Connection | None = None

    @property
    def closed(self) -> bool:
        return self._worker.closed

    def connection(self, deadline: float | None) -> Connection:
        seconds = -1.0 if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not self._starting.acquire(timeout=seconds):
            raise InferTimeout("the shared worker was not started in time")
        try:
            if self.latest is None or not self.latest.live:
                self.latest = self._worker.connection(deadline)
            return self.latest
        finally:
            self._starting.release()

    def alive(self) -> tuple[list[WorkerProcess], list[Connection]]:
        return self._worker.alive()

    def close(self) -> None:
        self._worker.close()

    def abandon(self) -> None:
        self._worker.abandon()


class Seat:
    """Implements Serving. Closing it unloads its model; the worker and its other models go on. ``model`` is an id
    that is not reused."""

    def __init__(self, process: SharedProcess, model: int, loop: SupervisorLoop) -> None:
        self._process = process
        self._model = model
        self._loop = loop
        self._asked = False
        self._connection: Connection | None = None  # the last one that was asked for
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed or self._process.closed

    def connection(self, deadline: float | None) -> Connection:
        if self._closed:
            raise HandleClosed("the model was closed: load it again")
        self._asked = True
        connection = self._process.connection(deadline)
        self._connection = connection
        if self._closed:  # meanwhile, and it saw no connection
            connection.unload(self._model, 0.0)
        return connection

    def alive(self) -> tuple[list[WorkerProcess], list[Connection]]:
        """Once it was asked for, the worker is this model's, too."""
        return self._process.alive() if self._asked else ([], [])

    def close(self) -> None:
        """Unload the model. A worker that is busy with another one does it later."""
        self._closed = True
        if self._connection is not None:
            self._connection.unload(self._model, CLOSE_GRACE_S)

    def abandon(self) -> None:
        """The same without waiting and without a lock."""
        self._closed = True
        connection = self._connection
        if connection is not None:
            self._loop.post(lambda: connection.unload(self._model, 0.0))
