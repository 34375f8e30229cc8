"""A model in a worker process."""

from __future__ import annotations

import threading
import time
from typing import Any, NamedTuple

import numpy as np

from neuropod_ope.client.connection import Call, Connection, Key
from neuropod_ope.client.executor import WorkerInfo
from neuropod_ope.client.failures import error_from
from neuropod_ope.client.worker import Worker
from neuropod_ope.errors import HandleClosed, InferTimeout, LoadError, NeuropodError, QueueFull
from neuropod_ope.supervisor.diagnosis import worker_died
from neuropod_worker.backends import LoadOptions
from neuropod_worker.failure import Failure
from neuropod_worker.package import Package
from neuropod_worker.shm import control
from neuropod_worker.wire import messages as m


class _Submitted(NamedTuple):
    executor: WorkerExecutor
    connection: Connection
    call: Call
    arguments: tuple[Key, dict[str, np.ndarray], tuple[str, ...] | None]

    def result(self, deadline: float | None) -> dict[str, np.ndarray]:
        connection, call = self.connection, self.call
        if not connection.wait(call, deadline):
            self.executor.give_up(connection, call)
        if type(call.reply) is m.Result:
            return call.outputs
        if call.reply is None and connection.ended is not None and call.number > connection.ended.taken:
            # The worker was dead before it saw the request, so it is safe to hand it to a fresh one.
            return self.executor.submit(*self.arguments, deadline).result(deadline)
        raise self.executor.failed(connection, call, "it ran a call")


class WorkerExecutor:
    """Implements Executor: one model in one worker."""

    def __init__(
        self, package: Package, options: LoadOptions, worker: Worker, model: int, dropped: frozenset[str]
    ) -> None:
        self._package = package
        self._options = options
        self._worker = worker
        self._model = model
        self._dropped = dropped
        self._loading = threading.Lock()
        self._connection: Connection | None = None  # in which the model is loaded
        self._platform_version = ""
        self._closed = False

    def load(self, deadline: float | None) -> None:
        self._ready(deadline)

    def _ready(self, deadline: float | None) -> Connection:
        connection = self._connection
        if connection is not None and connection.ended is None:
            return connection
        remaining = -1.0 if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not self._loading.acquire(timeout=remaining):
            raise InferTimeout(f"model {self._package.name!r} is still being loaded", self._package.name)
        try:
            connection = self._connection
            if connection is None or connection.ended is not None:
                connection = self._load(deadline)
            return connection
        finally:
            self._loading.release()

    def _load(self, deadline: float | None) -> Connection:
        connection = self._worker.connection(deadline)
        call = connection.load(self._model, self._package.path, *self._options[:3])
        try:
            in_time = connection.wait(call, deadline)
        except BaseException:
            connection.process.kill()  # half loaded: the next call begins afresh
            raise
        if not in_time:
            self.give_up(connection, call)
        if type(call.reply) is not m.Loaded:
            raise self.failed(connection, call, "it loaded the model")
        self._platform_version = call.reply.platform_version
        self._connection = connection
        return connection

    def submit(
        self,
        key: Key,
        inputs: dict[str, np.ndarray],
        requested: tuple[str, ...] | None,
        deadline: float | None,
    ) -> _Submitted:
        while True:
            connection = self._ready(deadline)
            try:
                call = connection.infer(self._model, key, inputs, requested)
            except QueueFull:
                if deadline is not None and time.monotonic() >= deadline:
                    raise
                connection.wait_room(deadline)
            else:
                return _Submitted(self, connection, call, (key, inputs, requested))

    def give_up(self, connection: Connection, call: Call) -> None:
        """The deadline of ``call`` has passed: raise InferTimeout, unless the answer came in this moment.

        A worker that is busy with this call, or idle and deaf, is killed. One that is busy with another
        caller's request is not: this one is cancelled.
        """
        stats = connection.stats()
        if connection.wait(call, time.monotonic()):
            return
        busy_with_another = stats.step in (control.RUNNING, control.LOADING) and stats.request != call.request
        if busy_with_another:
            connection.cancel(call)
            consequence = "it had not been started and was cancelled"
        else:
            connection.process.end(0.0)
            consequence = f"its worker (pid {connection.process.pid}) was killed; the next call starts a fresh one"
        doing = "load" if call.number and stats.step == control.LOADING else "call"
        raise InferTimeout(
            f"a {doing} of model {self._package.name!r} did not finish in time; {consequence}",
            self._package.name,
            request=call.request,
        )

    def failed(self, connection: Connection, call: Call, doing: str) -> NeuropodError:
        """The error for a call that is done without a result."""
        if type(call.reply) is m.Failed:
            failure = Failure(*call.reply[-4:])
            error = error_from(failure, self._package.name)
            return self._with_dropped_variables(error) if isinstance(error, LoadError) else error
        if self._closed:
            return HandleClosed(f"model {self._package.name!r} was closed during the call")
        ended: Any = connection.ended
        if ended is not None and ended.violation is not None:
            return ended.violation  # type: ignore[no-any-return]
        return worker_died(ended.death, self._package.name, call.request, doing)

    def _with_dropped_variables(self, error: LoadError) -> LoadError:
        text = f"{error} {error.remote_traceback}"
        missed = sorted(name for name in self._dropped if name in text)
        if not missed:
            return error
        hint = f"\nThe worker was started without the environment variable(s) {', '.join(missed)}; "
        hint += "allow them with Runtime(environ_allow=[...])."
        return LoadError(str(error) + hint, error.remote_type, error.remote_traceback)

    def workers(self) -> tuple[WorkerInfo, ...]:
        info = self._worker.info(self._platform_version)
        return () if info is None else (info,)

    def close(self) -> None:
        self._closed = True
        self._worker.close()
