"""One model's place in a worker that serves several: to an executor it looks like a worker of the model's own."""

from __future__ import annotations

from neuropod_ope.client.connection import Connection
from neuropod_ope.client.executor import WorkerInfo
from neuropod_ope.client.worker import CLOSE_GRACE_S, Worker
from neuropod_ope.errors import HandleClosed
from neuropod_ope.supervisor.loop import SupervisorLoop


class Seat:
    """Closing it unloads its model; the worker and its other models go on. ``model`` is an id that is not reused."""

    def __init__(self, worker: Worker, model: int, loop: SupervisorLoop) -> None:
        self._worker = worker
        self._model = model
        self._loop = loop
        self._connection: Connection | None = None  # the last one that was asked for
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed or self._worker.closed

    def connection(self, deadline: float | None) -> Connection:
        """The worker's live connection, to load the model with."""
        if self._closed:
            raise HandleClosed("the model was closed: load it again")
        connection = self._worker.connection(deadline)
        self._connection = connection
        if self._closed:  # meanwhile, and it saw no connection
            connection.unload(self._model, 0.0)
        return connection

    def info(self, platform_version: str) -> WorkerInfo | None:
        return self._worker.info(platform_version)

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
