"""A model in a worker process."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from neuropod_ope.client.attempts import Attempts
from neuropod_ope.client.call import Call
from neuropod_ope.client.capsules import CapsuleWriter
from neuropod_ope.client.connection import Connection
from neuropod_ope.client.dispatch import Standing
from neuropod_ope.client.executor import Pending, Request, WorkerInfo
from neuropod_ope.client.failures import error_from, load_failed
from neuropod_ope.client.future import Task
from neuropod_ope.client.health import Health
from neuropod_ope.client.line import Turn
from neuropod_ope.client.supervised import Loading, LoadNotBegun, SupervisedModel
from neuropod_ope.client.supervision import Supervision
from neuropod_ope.client.unattended import UnattendedCalls
from neuropod_ope.client.warm_up import warm_up_failed
from neuropod_ope.client.worker import Serving
from neuropod_ope.errors import HandleClosed, InferTimeout, LoadError, NeuropodError, QueueFull, WorkerDied
from neuropod_ope.supervisor.diagnosis import timed_out, worker_died
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_ope.supervisor.startup import Startup
from neuropod_worker.backends import LoadOptions
from neuropod_worker.failure import Failure
from neuropod_worker.package import Package
from neuropod_worker.problem.signatures import Signature
from neuropod_worker.wire import messages as m

_DEAF_S = 0.2  # a worker that waits for requests and does not take one for so long never will
# To hand a request to workers that die before they begin it: several that were killed at once may not have been found
# dead yet.
_MOST_ATTEMPTS = 8


class _Submitted:
    __slots__ = ("_call", "_connection", "_executor", "_request")

    def __init__(self, executor: OutOfProcessExecutor, connection: Connection, call: Call, request: Request) -> None:
        self._executor = executor
        self._connection = connection
        self._call = call
        self._request = request

    def detach(self) -> None:
        executor, request = self._executor, self._request
        if executor.capsules is not None:  # the model may write into what lies in the arena
            self._request = request.copied()
        elif not executor.retries:  # else it is a copy already
            self._request = self._call.detached(request)

    def cancel(self) -> None:
        self._connection.cancel_unless_locked(self._call)
        self._executor.post_kill_if_running(self._connection, self._call)

    def result(self, deadline: float | None) -> dict[str, np.ndarray]:
        executor, connection, call = self._executor, self._connection, self._call
        attempts: Attempts | None = None
        while True:
            try:
                in_time = connection.wait(call, deadline)
            except BaseException:  # an interrupt: nobody waits for it any more
                executor.kill_if_running(connection, call)
                raise
            if not in_time:
                executor.give_up(connection, call, self._request)
            if type(call.reply) is m.Result:
                return call.outputs
            attempts = attempts or Attempts()
            executor.try_again(connection, call, attempts, self._request)
            executor = executor.heir(executor)
            connection, call = executor.send(self._request, deadline, attempts.sent)


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
        warm_up: Request | None = None,
        capsules: CapsuleWriter | None = None,
    ) -> None:
        self._package = package
        self._options = options
        self._worker = worker
        self._model = model
        self._dropped = dropped
        self._loop = loop
        self._warm_up = warm_up
        self.capsules = capsules
        self.retries = supervision.retries
        self._kills_cancelled = supervision.cancel == "kill"
        self._supervised = SupervisedModel(package.name, worker, self._load, loop, supervision)
        self._unanswered: tuple[Connection, Call] | None = None  # a load that was not answered in time
        self._unattended = UnattendedCalls(self, f"neuropod-calls-{package.name}")
        # Who sends again what a worker of this one had not begun.
        self.heir: Callable[[OutOfProcessExecutor], OutOfProcessExecutor] = _itself

    @property
    def closed(self) -> bool:
        return self._worker.closed

    @property
    def stopped(self) -> bool:
        """Whether its worker has been given up."""
        return self._supervised.stopped

    def begin_load(self, afresh: bool) -> None:
        """Load the model, if it is not loaded, without waiting for it."""
        latest = self._supervised.latest
        if latest is None or not latest.live:
            self._supervised.begin(afresh)

    def load(self, deadline: float | None) -> None:
        latest = self._supervised.latest
        if latest is None or not latest.live:
            self._supervised.load(deadline)

    def standing(self) -> Standing:
        """How busy it is."""
        connection, waiting = self.live(), self._unattended.waiting
        return Standing(False, waiting) if connection is None else Standing(True, connection.in_flight + waiting)

    def wait_ready(self, deadline: float | None) -> None:
        self.ready(deadline)

    def health(self, stuck_after: float) -> Health:
        return self._supervised.health(stuck_after)

    def wait_answered(self, deadline: float | None) -> bool:
        connection = self.live()
        return connection is None or connection.wait_answered(deadline)

    def live(self) -> Connection | None:
        """The connection in which the model is loaded, if there is one now."""
        latest = self._supervised.latest
        return latest.connection if latest is not None and latest.connection.ended is None else None

    def ready(self, deadline: float | None) -> Connection:
        """The same, once there is one. Raises what `SupervisedModel.ready` raises."""
        latest = self._supervised.latest
        if latest is not None and latest.connection.ended is None:
            return latest.connection
        return self._supervised.ready(deadline)

    def _load(self, connection: Connection, deadline: float | None) -> Loading:
        """Load the model into a worker. In a thread of the supervised model's."""
        call = self._load_call(connection)
        if not connection.wait(call, deadline):
            self._unanswered = (connection, call)
            self.give_up(connection, call, None)
            self._unanswered = None  # it was, in this moment
        if type(call.reply) is not m.Loaded:
            raise load_failed(self._load_failed(connection, call, "it loaded the model"), self._package)
        reply, warm_up = call.reply, 0.0
        if self._warm_up is not None:
            loaded = time.monotonic()
            self._run_warm_up(connection, self._warm_up, deadline)
            warm_up = time.monotonic() - loaded
        framework, package = reply.imported - reply.started, reply.finished - reply.imported
        return Loading(reply.platform_version, framework / 1e9, package / 1e9, warm_up)

    def _run_warm_up(self, connection: Connection, request: Request, deadline: float | None) -> None:
        call = None
        while call is None:
            self.check_in_time(deadline)
            call = self._send_in_turn(connection, request, deadline, 0)
        if not connection.wait(call, deadline):
            self.give_up(connection, call, None)
        if type(call.reply) is not m.Result:
            error = self._load_failed(connection, call, "it warmed up")
            raise warm_up_failed(error, self._package.name)

    def _load_failed(self, connection: Connection, call: Call, doing: str) -> NeuropodError:
        """The error for a part of a load. Raises LoadNotBegun where the worker ended before it came to it."""
        ended = connection.ended
        if call.reply is None and not self.closed and ended is not None and ended.running != call.request:
            raise LoadNotBegun(self.failed(connection, call, "the model waited for it"))
        return self.failed(connection, call, doing)

    def _load_call(self, connection: Connection) -> Call:
        """A Load, or the one that a shared worker has not come to yet: an id that is loaded is not loaded again."""
        unanswered, self._unanswered = self._unanswered, None
        if unanswered is not None and unanswered[0] is connection:
            return unanswered[1]
        return connection.load(self._model, self._package.path, *self._options[:3])

    def infer_at_once(
        self, signature: Signature, inputs: Any, deadline: float | None
    ) -> dict[str, np.ndarray] | Pending | None:
        latest = self._supervised.latest
        if latest is None or self.retries or self.capsules is not None:
            return None
        if deadline is not None:
            self.check_in_time(deadline)
        connection = latest.connection
        answer = connection.infer_at_once(self._model, signature, inputs)
        if isinstance(answer, Call):
            return _Submitted(self, connection, answer, Request(signature, inputs.copy(), None))
        return answer

    def submit(self, request: Request, deadline: float | None) -> _Submitted:
        if self.retries:  # the model may write into its inputs, and the caller into the originals
            request = request.copied()
        connection, call = self.send(request, deadline, 0)
        return _Submitted(self, connection, call, request)

    def send(self, request: Request, deadline: float | None, attempt: int) -> tuple[Connection, Call]:
        """Hand a request to a live worker, when it is its turn and while there is time."""
        while True:
            connection = self.ready(deadline)
            if deadline is not None:
                self.check_in_time(deadline)
            try:
                return connection, connection.infer(self._model, request, attempt)
            except QueueFull:
                call = self._send_in_turn(connection, request, deadline, attempt)
            if call is not None:
                return connection, call

    def _send_in_turn(
        self, connection: Connection, request: Request, deadline: float | None, attempt: int
    ) -> Call | None:
        """Behind others that wait for room. None if there was none by the deadline."""
        turn = connection.join_line()
        try:
            while connection.wait(turn, deadline):
                try:
                    return connection.infer(self._model, request, attempt, turn)
                except QueueFull:
                    continue
            return None
        finally:
            connection.leave_line(turn)

    def check_in_time(self, deadline: float | None) -> None:
        """Raise InferTimeout for a call that has not been sent by its deadline."""
        if deadline is not None and time.monotonic() >= deadline:
            message = f"a call of model {self._package.name!r} was not sent in time"
            raise InferTimeout(message, self._package.name)

    def try_again(self, connection: Connection, call: Call, attempts: Attempts, request: Request) -> None:
        """Count a call that ended without a result, and raise its error unless it may be sent again."""
        ended = connection.ended
        # The stats page names what the worker was busy with. Whatever else it has not answered, it has not
        # begun, so it is safe to hand that to a fresh worker.
        begun = ended is None or ended.running == call.request
        attempts.count(begun)
        if (
            call.reply is not None
            or self.closed
            or (ended is not None and ended.violation is not None)
            or attempts.begun > self.retries
            or attempts.not_begun >= _MOST_ATTEMPTS
        ):
            doing = (
                "it ran a call" if begun else f"a call waited for it, and {attempts.not_begun - 1} had died before it"
            )
            error = self.failed(connection, call, doing, request.left_out(self._package.inputs))
            if begun and isinstance(error, WorkerDied):
                self._encapsulate(error, request)
            raise error

    def _encapsulate(self, error: WorkerDied | InferTimeout, request: Request | None) -> None:
        if self.capsules is not None and request is not None:
            self.capsules.write(error, request)

    def enqueue(self, task: Task) -> None:
        if self.retries or self.capsules is not None:  # as in `submit` and `detach`
            task.snapshot()
        self._unattended.enqueue(task)

    def heir_of_tasks(self) -> UnattendedCalls | None:
        """Who runs the tasks of this one, while it is dead and another one lives."""
        heir = self.heir(self)
        return None if heir is self else heir._unattended

    def send_task(self, connection: Connection, task: Task, turn: Turn | None) -> Call:
        """Send a task without waiting. Raises InferTimeout and what `Connection.infer` raises."""
        self.check_in_time(task.deadline)
        return connection.infer(self._model, task.request, task.attempts.sent, turn, self._unattended)

    def give_up(self, connection: Connection, call: Call, request: Request | None) -> None:
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
        name, process = self._package.name, connection.process
        if in_time or busy_with not in (0, call.request):
            message = f"{what} of model {name!r} did not finish in time; it was cancelled before the worker began it"
            raise InferTimeout(message, name, call.request)
        death = process.interrogate(f"{what} did not finish in time")
        error = timed_out(death, process.pid, name, call.request, what)
        self._encapsulate(error, request)
        raise error

    def kill_if_running(self, connection: Connection, call: Call) -> bool:
        """End the worker if it is busy with ``call``, which was cancelled, and if that is what the user chose."""
        running = self._kills_cancelled and not call.done and connection.busy_with() == call.request
        if running:
            connection.end_for_caller("the call that it ran was cancelled")
        return running

    def post_kill_if_running(self, connection: Connection, call: Call) -> None:
        """The same soon and without a lock, for the garbage collector."""
        if self._kills_cancelled:

            def kill() -> None:
                self.kill_if_running(connection, call)

            self._loop.post(kill)

    def failed(self, connection: Connection, call: Call, doing: str, left_out: Sequence[str] = ()) -> NeuropodError:
        """The error for a call that is done without a result; ``left_out`` as in `error_from`."""
        if type(call.reply) is m.Failed:
            reply = call.reply
            failure = Failure(reply.kind, reply.remote_type, reply.message, reply.traceback, reply.facts)
            error = error_from(failure, self._package.name, left_out)
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

    def startup(self) -> Startup | None:
        latest = self._supervised.latest
        return None if latest is None else latest.startup

    def workers(self) -> tuple[WorkerInfo, ...]:
        return self._supervised.workers()

    def close(self) -> None:
        self._supervised.close()
        self._unattended.close()

    def abandon(self) -> None:
        self._supervised.abandon()
        self._unattended.abandon()


def _itself(executor: OutOfProcessExecutor) -> OutOfProcessExecutor:
    return executor
