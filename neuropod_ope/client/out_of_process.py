"""A model in a worker process."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

import numpy as np

from neuropod_ope.client.connection import Call, Connection
from neuropod_ope.client.executor import Request, WorkerInfo
from neuropod_ope.client.failures import error_from
from neuropod_ope.client.supervised import SupervisedModel
from neuropod_ope.client.supervision import Supervision
from neuropod_ope.client.worker import Serving
from neuropod_ope.errors import HandleClosed, InferTimeout, LoadError, NeuropodError, QueueFull
from neuropod_ope.supervisor.diagnosis import worker_died
from neuropod_ope.supervisor.loop import SupervisorLoop
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
        attempt = replays = 0
        while True:
            if not connection.wait(call, deadline):
                executor.give_up(connection, call)
            if type(call.reply) is m.Result:
                return call.outputs
            attempt += 1
            # The stats page names what the worker was busy with. Whatever else it has not answered, it has not
            # begun, so it is safe to hand that to a fresh worker.
            ended = connection.ended
            if call.reply is not None or executor.closed or (ended is not None and ended.violation is not None):
                raise executor.failed(connection, call, "it ran a call")
            if ended is None or ended.running == call.request:
                replays += 1
            if replays > executor.retries or attempt - replays >= _MOST_ATTEMPTS:
                raise executor.failed(connection, call, "it ran a call")
            connection, call = executor.send(request, deadline, attempt)


class OutOfProcessExecutor:
    """Implements Executor: one model in one worker. ``dropped`` names environment variables that it lacks."""

    def __init__(
        self,
        package: Package,
        options: LoadOptions,
        worker: Serving,
        model: int,
        dropped: frozenset[str],
        loop: SupervisorLoop,
        supervision: Supervision,
    ) -> None:
        self._package = package
        self._options = options
        self._worker = worker
        self._model = model
        self._dropped = dropped
        self.retries = supervision.retries
        self._supervised = SupervisedModel(package.name, worker, self._load, loop, supervision)
        self._unanswered: tuple[Connection, Call] | None = None  # a load that was not answered in time

    @property
    def closed(self) -> bool:
        return self._worker.closed

    def load(self, deadline: float | None) -> None:
        latest = self._supervised.latest
        if latest is None or not latest.live:
            self._supervised.load(deadline)

    def _ready(self, deadline: float | None) -> Connection:
        latest = self._supervised.latest
        if latest is not None and latest.connection.ended is None:
            return latest.connection
        return self._supervised.ready(deadline)

    def _load(self, connection: Connection, deadline: float | None) -> str:
        """Load the model into a worker; the version of its framework. In a thread of the supervised model's."""
        call = self._load_call(connection)
        if not connection.wait(call, deadline):
            self._unanswered = (connection, call)
            self.give_up(connection, call)
            self._unanswered = None  # it was, in this moment
        if type(call.reply) is not m.Loaded:
            raise self.failed(connection, call, "it loaded the model")
        return call.reply.platform_version

    def _load_call(self, connection: Connection) -> Call:
        """A Load, or the one that a shared worker has not come to yet: an id that is loaded is not loaded again."""
        unanswered, self._unanswered = self._unanswered, None
        if unanswered is not None and unanswered[0] is connection:
            return unanswered[1]
        return connection.load(self._model, self._package.path, *self._options[:3])

    def submit(self, request: Request, deadline: float | None) -> _Submitted:
        if self.retries:  # the model may write into its inputs, and the caller into the originals
            request = request._replace(inputs={name: array.copy() for name, array in request.inputs.items()})
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
        latest = self._supervised.latest
        if latest is not None:
            latest.connection.announce(name, array)

    def free_unused_memory(self) -> None:
        latest = self._supervised.latest
        if latest is not None:
            latest.connection.trim()

    def workers(self) -> tuple[WorkerInfo, ...]:
        return self._supervised.workers()

    def close(self) -> None:
        self._supervised.close()

    def abandon(self) -> None:
        self._supervised.abandon()
