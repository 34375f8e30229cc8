"""A supervised worker: a live connection whenever one is asked for, and how often it had to be made anew."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from neuropod_ope.client.connection import Connection
from neuropod_ope.client.executor import WorkerInfo
from neuropod_ope.client.handshake import Launch
from neuropod_ope.errors import HandleClosed
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_ope.supervisor.process import WorkerProcess

_CLOSED = "its model was closed"
CLOSE_GRACE_S = 1.0  # what an idle worker gets to exit by itself


class Serving(Protocol):
    """What an executor needs of a worker: of one that its model has to itself, or of a seat in a shared one."""

    @property
    def closed(self) -> bool: ...

    def connection(self, deadline: float | None) -> Connection: ...

    def info(self, platform_version: str) -> WorkerInfo | None: ...

    def close(self) -> None: ...

    def abandon(self) -> None: ...


class Worker:
    """One worker through its restarts. It may serve several models; each loads itself again after a restart."""

    def __init__(self, launch: Launch, name: str, loop: SupervisorLoop, logger: logging.Logger) -> None:
        self._launch = launch
        self._name = name
        self._loop = loop
        self._logger = logger
        self._starting = threading.Lock()
        self._process: WorkerProcess | None = None  # the last one started, also while it starts
        self._connection: Connection | None = None
        self._restarts = -1
        self.closed = False

    def connection(self, deadline: float | None) -> Connection:
        """The live connection; a fresh worker is started if the last one has ended.

        Raises HandleClosed and what `handshake.connect` raises.
        """
        with self._starting:
            if self._connection is None or self._connection.ended is not None:
                self._check_open()
                try:
                    connection = Connection(
                        self._launch, self._name, self._loop, self._logger, deadline, self._started
                    )
                except Exception:  # ours, re-raised below unless the close explains it
                    self._check_open()  # closed while it was starting: that is then why it did not come up
                    raise
                self._connection = connection
                self._restarts += 1
            return self._connection

    def _started(self, process: WorkerProcess) -> None:
        self._process = process
        if self.closed:
            process.kill(_CLOSED)

    def _check_open(self) -> None:
        if self.closed:
            raise HandleClosed(f"the worker of model {self._name!r} is closed")

    def info(self, platform_version: str) -> WorkerInfo | None:
        """The facts, None before the first start."""
        connection = self._connection
        if connection is None:
            return None
        python_version, pid = connection.python_version, connection.process.pid
        return WorkerInfo(pid, connection.state, python_version, platform_version, self._restarts)

    def close(self) -> None:
        """End the process, also one that is still starting, and wait for its end. Calls in flight fail."""
        self.closed = True
        connection, process = self._connection, self._process
        if process is not None and (connection is None or connection.process is not process):
            process.end(0.0, _CLOSED)
        if connection is not None:
            connection.close(CLOSE_GRACE_S)

    def abandon(self) -> None:
        """Have the process killed, without waiting and without a lock."""
        self.closed = True
        process = self._process
        if process is not None:
            self._loop.post(lambda: process.kill(_CLOSED))
