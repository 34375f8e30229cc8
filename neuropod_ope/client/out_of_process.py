"""A model in a worker process."""

from __future__ import annotations

import re
import threading
import time
from typing import Any, NamedTuple

import numpy as np

from neuropod_ope.client.connection import Call, Connection
from neuropod_ope.client.executor import Request, WorkerInfo
from neuropod_ope.client.failures import error_from
from neuropod_ope.client.worker import Serving
from neuropod_ope.errors import HandleClosed, InferTimeout, LoadError, NeuropodError, QueueFull
from neuropod_ope.supervisor.diagnosis import worker_died
from neuropod_worker.backends import LoadOptions
from neuropod_worker.failure import Failure
from neuropod_worker.package import Package
from neuropod_worker.wire import messages as m

_DEAF_S = 0.2  # a worker that waits for requests and does not take one for so long never will
_MOST_ATTEMPTS = 3  # to hand a request to workers that die before they begin it


class _Submitted(NamedTuple):
    executor: OutOfProcessExecutor
    connection: Connection
    call: Call
    request: Request

    def result(self, deadline: float | None) -> dict[str, np.ndarray]:
        executor, connection, call, request = self
        attempt = 0
        while True:
            if not connection.wait(call, deadline):
                executor.give_up(connection, call)
            if type(call.reply) is m.Result:
                return call.outputs
            attempt += 1
            # The stats page names what the worker was busy with. Whatever else it has not answered, it has not
            # begun, so it is safe to hand that to a fresh worker.
            ended = connection.ended
            begun = call.reply is not None or ended is None or ended.running == call.request
            if begun or self.executor.closed or attempt == _MOST_ATTEMPTS:
                raise executor.failed(connection, call, "it ran a call")
            connection, call = executor.send(request, deadline, attempt)


class OutOfProcessExecutor:
    """Implements Executor: one model in one worker. ``dropped`` names environment variables that it lacks."""

    def __init__(
        self, package: Package, options: LoadOptions, worker: Serving, model: int, dropped: frozenset[str]
    ) -> None:
        self._package = package
        self._options = options
        self._worker = worker
        self._model = model
        self._dropped = dropped
        # An RLock knows its owner: an interrupt can fall between taking it and noting that it was taken.
        self._loading: Any = threading.RLock()
        self._connection: Connection | None = None  # in which the model is loaded
        self._platform_version = ""

    @property
    def closed(self) -> bool:
        return self._worker.closed

    def load(self, deadline: float | None) -> None:
        self._ready(deadline)

    def _ready(self, deadline: float | None) -> Connection:
        connection = self._connection
        if connection is not None and connection.ended is None:
            return connection
        seconds = -1.0 if deadline is None else max(deadline - time.monotonic(), 0.0)
        try:
            if not self._loading.acquire(timeout=seconds):
                raise InferTimeout(f"model {self._package.name!r} is still being loaded", self._package.name)
            connection = self._connection
            if connection is None or connection.ended is not None:
                connection = self._load(deadline)
            return connection
        finally:
            if self._loading._is_owned():
                self._loading.release()

    def _load(self, deadline: float | None) -> Connection:
        connection = self._worker.connection(deadline)
        call = connection.load(self._model, self._package.path, *self._options[:3])
        try:
            in_time = connection.wait(call, deadline)
        except BaseException:  # an interrupt: half loaded, so the next call begins afresh
            connection.process.kill("its load was interrupted")
            raise
        if not in_time:
            self.give_up(connection, call)
        if type(call.reply) is not m.Loaded:
            raise self.failed(connection, call, "it loaded the model")
        self._platform_version = call.reply.platform_version
        self._connection = connection
        return connection

    def submit(self, request: Request, deadline: float | None) -> _Submitted:
        return _Submitted(self, *self.send(request, deadline, 0), request)

    def send(self, request: Request, deadline: float | None, attempt: int) -> tuple[Connection, Call]:
        """Hand a request to a live worker, when it has room for it and while there is time."""
        while True:
            connection = self._ready(deadline)
            if deadline is not None and time.monotonic() >= deadline:
                message = f"a call of model {self._package.name!r} was not sent in time"
                raise InferTimeout(message, self._package.name)
            try:
                return connection, connection.infer(self._model, request, attempt)
            except QueueFull:
                connection.wait_room(deadline)

    def give_up(self, connection: Connection, call: Call) -> None:
        """The deadline of ``call`` has passed: raise InferTimeout, unless it is answered in this moment.

        A call that was not begun is cancelled, and whoever is being served meanwhile does not notice. A worker that
        is busy with this call, or idle and deaf, is killed.
        """
        what = "the load" if call.state == "loading" else "a call"
        busy_with = connection.busy_with()
        if busy_with != call.request:
            connection.cancel(call)
        in_time = connection.wait(call, time.monotonic() + (0.0 if busy_with else _DEAF_S))
        if in_time and type(call.reply) is not m.Cancelled:
            return
        busy_with = busy_with or connection.busy_with()  # it may have begun something meanwhile
        if in_time or busy_with not in (0, call.request):
            consequence = "it was cancelled before the worker began it"
        else:
            connection.process.end(0.0, "a call did not finish in time")
            consequence = f"its worker (pid {connection.process.pid}) was killed; the next call starts a fresh one"
        message = f"{what} of model {self._package.name!r} did not finish in time; {consequence}"
        raise InferTimeout(message, self._package.name, call.request)

    def failed(self, connection: Connection, call: Call, doing: str) -> NeuropodError:
        """The error for a call that is done without a result."""
        if type(call.reply) is m.Failed:
            reply = call.reply
            failure = Failure(reply.kind, reply.remote_type, reply.message, reply.traceback)
            error = error_from(failure, self._package.name)
            return self._with_dropped_variables(error) if isinstance(error, LoadError) else error
        if self.closed:
            return HandleClosed(f"model {self._package.name!r} was closed during the call")
        ended = connection.ended
        assert ended is not None
        if ended.violation is not None:
            return ended.violation
        assert ended.death is not None
        return worker_died(ended.death, self._package.name, call.request, doing)

    def _with_dropped_variables(self, error: LoadError) -> LoadError:
        quoted = set(re.findall(r"['\"](\w+)['\"]", f"{error} {error.remote_traceback}"))
        missed = ", ".join(sorted(self._dropped & quoted))
        if not missed:
            return error
        hint = f"\nThe worker was started without the environment variable(s) {missed}; "
        hint += "allow them with Runtime(environ_allow=[...])."
        return LoadError(str(error) + hint, error.remote_type, error.remote_traceback)

    def announce(self, name: str, array: np.ndarray) -> None:
        if self._connection is not None:
            self._connection.announce(name, array)

    def free_unused_memory(self) -> None:
        if self._connection is not None:
            self._connection.trim()

    def workers(self) -> tuple[WorkerInfo, ...]:
        info = self._worker.info(self._platform_version)
        return () if info is None else (info,)

    def close(self) -> None:
        self._worker.close()

    def abandon(self) -> None:
        self._worker.abandon()
