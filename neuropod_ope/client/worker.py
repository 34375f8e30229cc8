"""A supervised worker: a live connection whenever one is asked for, and how often it had to be made anew."""

from __future__ import annotations

import logging
import threading

from neuropod_ope.client.connection import Connection
from neuropod_ope.client.executor import WorkerInfo
from neuropod_ope.client.handshake import Launch
from neuropod_ope.errors import HandleClosed
from neuropod_ope.supervisor.loop import SupervisorLoop

CLOSE_GRACE_S = 1.0  # what an idle worker gets to exit by itself


class Worker:
    """One worker through its restarts. It may serve several models; each loads itself again after a restart."""

    def __init__(self, launch: Launch, name: str, loop: SupervisorLoop, logger: logging.Logger) -> None:
        self._launch = launch
        self._name = name
        self._loop = loop
        self._logger = logger
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._restarts = -1
        self._closed = False

    def connection(self, deadline: float | None) -> Connection:
        """The live connection; a fresh worker is started if the last one has ended.

        Raises HandleClosed and what `handshake.connect` raises.
        """
        with self._lock:
            if self._closed:
                raise HandleClosed(f"the worker of model {self._name!r} is closed")
            if self._connection is None or self._connection.ended is not None:
                self._connection = Connection(self._launch, self._name, self._loop, self._logger, deadline)
                self._restarts += 1
            return self._connection

    def info(self, platform_version: str) -> WorkerInfo | None:
        """The facts, None before the first start."""
        connection = self._connection
        if connection is None:
            return None
        return WorkerInfo(
            connection.process.pid,
            connection.state,
            connection.python_version,
            platform_version,
            self._restarts,
        )

    def close(self) -> None:
        """End the process. Calls in flight fail."""
        with self._lock:
            self._closed = True
            connection = self._connection
        if connection is not None:
            connection.close(CLOSE_GRACE_S)
