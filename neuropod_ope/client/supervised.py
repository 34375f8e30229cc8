"""One model kept loaded in a live worker: loaded when it is first wanted, and again when its worker dies.

All decisions and transitions happen in the supervisor's thread, one after the other; starts and loads, which take
their time, in threads of their own, which end with them. Callers only wait: a deadline of theirs ends their wait and
not the load.
"""

from __future__ import annotations

import copy
import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from neuropod_ope.client.connection import Connection
from neuropod_ope.client.deadlines import deadline_in
from neuropod_ope.client.executor import WorkerInfo
from neuropod_ope.client.health import Health, progress_of
from neuropod_ope.client.supervision import Supervision
from neuropod_ope.client.worker import Serving, signs_of_start
from neuropod_ope.errors import HandleClosed, InferTimeout, LoadError, NeuropodError, WorkerDied
from neuropod_ope.supervisor.diagnosis import worker_died
from neuropod_ope.supervisor.events import Event, Reporter
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_ope.supervisor.restart import Ending, decide
from neuropod_ope.supervisor.startup import Startup
from neuropod_ope.supervisor.states import MODEL, after
from neuropod_worker.shm.waiting import WAIT_SLICE_S

_ATTEMPT_ENDS_S = 5.0  # for a thread whose worker was just killed
_TAKEN_OVER_S = 0.02  # for callers to go on with a spare worker before the start of the next one takes the GIL


class Loading(NamedTuple):
    """What a load came to: the version of the framework, and the parts of `Startup` that the worker tells."""

    platform_version: str
    framework: float
    package: float
    warm_up: float


class Loaded(NamedTuple):
    """A worker with the model in it."""

    connection: Connection
    platform_version: str
    startup: Startup

    @property
    def live(self) -> bool:
        return self.connection.live


class LoadNotBegun(Exception):
    """The worker ended, for ``cause``, before it began to load the model: another model of it was at fault, or
    nobody."""

    def __init__(self, cause: NeuropodError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _NotBegun(NamedTuple):
    cause: NeuropodError
    fruitless: bool


class SupervisedModel:
    """``load`` loads the model into a connection, by a deadline; it may raise LoadNotBegun.

    ``latest`` is the worker that serves, or the last one that did.
    """

    def __init__(
        self,
        name: str,
        worker: Serving,
        load: Callable[[Connection, float | None], Loading],
        loop: SupervisorLoop,
        supervision: Supervision,
    ) -> None:
        self._name = name
        self._worker = worker
        self._load = load
        self._loop = loop
        self._policy = supervision.restart
        self._load_timeout = supervision.load_timeout
        self._reporter = Reporter(supervision.on_event)
        self._lock = threading.RLock()  # around transitions: `close` makes its own in any thread, also in a callback
        self._state = "new"
        self.latest: Loaded | None = None
        self._spares: list[Loaded] = []
        self._restarts = -1
        self._cause: NeuropodError | None = None  # of the last death or failed start
        self._endings: list[Ending] = []
        self._spare_endings: list[Ending] = []
        self._attempts: set[threading.Thread] = set()
        self._starting = threading.Lock()  # a thread that is to be joined has been started
        self._started = 0
        self._waiters: set[queue.SimpleQueue[NeuropodError | None]] = set()

    # ---- from any thread

    def ready(self, deadline: float | None) -> Connection:
        """A live connection with the model in it, once there is one.

        Raises InferTimeout after ``deadline`` (time.monotonic), HandleClosed, and what was the matter with a start
        that failed meanwhile, or with a model that is stopped.
        """
        return self._wait(deadline, self._wanted)

    @property
    def stopped(self) -> bool:
        return self._state == "stopped"

    def begin(self, afresh: bool) -> None:
        """What `load` begins with, or `ready`, without waiting."""
        self._loop.call(self._wanted_now if afresh else self._wanted)

    def load(self, deadline: float | None) -> None:
        """The same, and a model that is stopped, or waits for its next start, is started now."""
        self._wait(deadline, self._wanted_now)

    def _wait(self, deadline: float | None, wanted: Callable[[], None]) -> Connection:
        woken: queue.SimpleQueue[NeuropodError | None] = queue.SimpleQueue()
        self._waiters.add(woken)
        try:
            self._loop.call(wanted)
            while True:
                if self._worker.closed:
                    raise HandleClosed(f"model {self._name!r} is closed: load it again")
                latest = self.latest
                if latest is not None and latest.live:
                    return latest.connection
                seconds = WAIT_SLICE_S if deadline is None else min(deadline - time.monotonic(), WAIT_SLICE_S)
                if seconds <= 0:
                    raise self._not_ready()
                try:
                    error = woken.get(timeout=seconds)
                except queue.Empty:
                    continue
                if error is not None:
                    raise copy.copy(error)  # several threads may raise it, each with a traceback of its own
        finally:
            self._waiters.discard(woken)

    def _not_ready(self) -> InferTimeout:
        what = f"model {self._name!r} was not ready in time: it is {self._state}"
        if self._state == "loading":
            what = f"the load of model {self._name!r} did not finish in time; it goes on"
        return InferTimeout(what if self._cause is None else f"{what}, because {self._cause}", self._name)

    def workers(self) -> tuple[WorkerInfo, ...]:
        """The facts: of the worker that serves or served last, then of the spare ones."""
        latest = self.latest
        infos = [] if latest is None else [self._info(latest, latest.connection.state)]
        return (*infos, *(self._info(spare, "standby") for spare in list(self._spares)))

    def _info(self, loaded: Loaded, state: str) -> WorkerInfo:
        pid, python_version = loaded.connection.process.pid, loaded.connection.python_version
        restarts = max(self._restarts, 0)
        return WorkerInfo(pid, state, python_version, loaded.platform_version, restarts, loaded.startup)

    def health(self, stuck_after: float) -> Health:
        """Facts, each taken now."""
        state, latest = self._state, self.latest
        serving = None if latest is None else progress_of(latest.connection.signs(), stuck_after)
        starting, connections = self._worker.alive()
        signs = [
            connection.signs() for connection in connections if latest is None or connection is not latest.connection
        ]
        signs += [signs_of_start(process) for process in starting]
        progress = tuple(progress_of(one, stuck_after) for one in signs)
        if serving is not None:
            progress = (serving, *progress)
        live = any(not one.problem for one in progress)
        return Health(live, serving is not None and not serving.problem, state, progress)

    def close(self) -> None:
        """End everything and wait for it. Idempotent."""
        self._worker.close()
        with self._starting:
            attempts = list(self._attempts)
        for thread in attempts:
            if thread is not threading.current_thread():
                thread.join(_ATTEMPT_ENDS_S)
        self._forget()
        self._advance("close")
        self._tell(None)
        self._reporter.wait_delivered()

    def abandon(self) -> None:
        """The same without waiting and without a lock."""
        self._worker.abandon()
        self._loop.post(self._abandoned)

    def _abandoned(self) -> None:
        self._forget()
        self._advance("close")

    def _forget(self) -> None:
        """A shared worker goes on, without us."""
        for loaded in (self.latest, *self._spares):
            if loaded is not None and self._died in loaded.connection.on_death:
                loaded.connection.on_death.remove(self._died)

    # ---- in the supervisor's thread

    def _wanted(self) -> None:
        """Somebody waits for the model."""
        if self._state == "stopped":
            self._endings = self._recent(self._endings)
            if decide(self._policy, self._endings, time.monotonic()).event == "give up":
                self._tell(self._cause)
            else:
                self._begin("start")
        elif self._state == "new":
            self._begin("start")

    def _wanted_now(self) -> None:
        if self._state in ("new", "waiting", "stopped"):
            self._endings = []
            self._begin("start")

    def _begin(self, event: str, cause: NeuropodError | None = None) -> None:
        if self._advance(event, cause=cause):
            self._attempt()

    def _attempt(self) -> None:
        self._started += 1
        thread = threading.Thread(target=self._run_attempt, name=f"neuropod-load-{self._name}", daemon=True)
        try:
            with self._starting:
                thread.start()
                self._attempts.add(thread)
        except RuntimeError as error:  # no more threads
            self._failed(LoadError(f"model {self._name!r} cannot be loaded: {error}"))

    def _attempted(self, thread: threading.Thread, outcome: Loaded | _NotBegun | NeuropodError) -> None:
        self._attempts.discard(thread)
        if self._worker.closed:
            return
        if isinstance(outcome, _NotBegun):
            self._not_begun(outcome)
            return
        if isinstance(outcome, NeuropodError):
            self._failed(outcome)
        elif outcome.connection.death is not None:
            self._failed(self._death_of(outcome.connection))
        else:
            outcome.connection.on_death.append(self._died)
            if self.latest is not None and self.latest.live:
                self._spares.append(outcome)
                self._report("spare ready", outcome.connection.process.pid, startup=outcome.startup)
            else:
                self._serve(outcome, "loaded" if self._state == "loading" else "take over")
            self._keep_spares()

    def _serve(self, loaded: Loaded, event: str, cause: NeuropodError | None = None) -> None:
        self.latest = loaded
        self._restarts += 1
        self._tell(None)
        self._advance(event, loaded.connection.process.pid, cause, startup=loaded.startup)

    def _failed(self, error: NeuropodError) -> None:
        """A start or a load failed."""
        # What exits by itself before it serves would do so again; what is killed may have been in somebody's way.
        exited = isinstance(error, WorkerDied) and error.exit_code is not None
        ending = Ending(time.monotonic(), fruitless=True, hopeless=exited or not error.retryable)
        if self.latest is not None and self.latest.live:
            self._report("spare lost", cause=error)
            self._spare_ended(ending)
        elif self._restarts < 0:
            self._cause = error
            self._advance("failed", cause=error)
            self._tell(error)
        else:
            self._replace(ending, error)
            self._tell(error)

    def _not_begun(self, outcome: _NotBegun) -> None:
        """A worker ended before it came to the model, which says nothing about the model; nobody hears of it."""
        ending = Ending(time.monotonic(), outcome.fruitless)
        if self.latest is not None and self.latest.live:
            self._report("spare lost", cause=outcome.cause)
            self._spare_ended(ending)
        else:
            self._replace(ending, outcome.cause)

    def _died(self, connection: Connection) -> None:
        """A worker with the model in it has died."""
        if self._worker.closed:
            return
        spare = next((spare for spare in self._spares if spare.connection is connection), None)
        ending = Ending(time.monotonic(), fruitless=not connection.blameless)
        if spare is not None:
            self._spares.remove(spare)
            self._report("spare lost", connection.process.pid, self._death_of(connection))
            self._spare_ended(ending)
        elif self.latest is not None and self.latest.connection is connection:
            heir = next((spare for spare in self._spares if spare.live), None)
            if heir is None:
                self._replace(ending, self._death_of(connection))
            else:
                self._spares.remove(heir)
                self._endings.append(ending)
                self._serve(heir, "take over", self._death_of(connection))
                self._loop.call_later(_TAKEN_OVER_S, self._keep_spares)

    def _replace(self, ending: Ending, cause: NeuropodError) -> None:
        """There is no worker any more."""
        self._cause = cause
        self._endings = [*self._recent(self._endings), ending]
        decision = decide(self._policy, self._endings, time.monotonic())
        if decision.event == "restart":
            self._begin("restart", cause)
            return
        if self._advance(decision.event, cause=cause, delay=decision.delay) and decision.event == "back off":
            started = self._started
            self._loop.call_later(decision.delay, lambda: self._due(started))
        if decision.event == "give up":
            self._tell(cause)

    def _due(self, started: int) -> None:
        if self._state == "waiting" and self._started == started:
            self._begin("start")

    def _spare_ended(self, ending: Ending) -> None:
        self._spare_endings = [*self._recent(self._spare_endings), ending]
        decision = decide(self._policy, self._spare_endings, time.monotonic())
        if decision.event != "give up":
            self._loop.call_later(decision.delay, self._keep_spares)

    def _keep_spares(self) -> None:
        if self._state == "ready" and not self._worker.closed:
            for _ in range(self._policy.standby - len(self._spares) - len(self._attempts)):
                self._attempt()

    def _recent(self, endings: list[Ending]) -> list[Ending]:
        now = time.monotonic()
        return [ending for ending in endings if now - ending.at < self._policy.window]

    def _death_of(self, connection: Connection) -> NeuropodError:
        if connection.ended is not None and connection.ended.violation is not None:
            return connection.ended.violation
        assert connection.death is not None
        running = connection.was_busy_with()
        doing = "it ran a call" if running else "it was idle"
        return worker_died(connection.death, self._name, running or None, doing)

    def _tell(self, outcome: NeuropodError | None) -> None:
        """Wake all who wait: with an error, or to look at what has changed."""
        for woken in list(self._waiters):
            woken.put(outcome)

    def _advance(
        self,
        event: str,
        pid: int | None = None,
        cause: NeuropodError | None = None,
        delay: float = 0.0,
        startup: Startup | None = None,
    ) -> bool:
        """Make a transition, unless the model is closed."""
        with self._lock:
            if self._state == "closed":
                return False
            self._state = after(MODEL, self._state, event)
            self._report(event, pid, cause, delay, startup)
        return True

    def _report(
        self,
        event: str,
        pid: int | None = None,
        cause: NeuropodError | None = None,
        delay: float = 0.0,
        startup: Startup | None = None,
    ) -> None:
        now, restarts = time.monotonic(), max(self._restarts, 0)
        self._reporter.report(Event(self._name, event, self._state, now, pid, restarts, delay, cause, startup))

    # ---- in a thread of its own

    def _run_attempt(self) -> None:
        deadline = None if self._load_timeout is None else deadline_in(self._load_timeout)
        outcome: Loaded | _NotBegun | NeuropodError
        try:
            started = time.monotonic()
            connection = self._worker.connection(deadline)
            boot = time.monotonic() - started
            try:
                version, *loading = self._load(connection, deadline)
                outcome = Loaded(connection, version, Startup(0.0, boot, *loading))
            except LoadNotBegun as not_begun:
                outcome = _NotBegun(not_begun.cause, not connection.blameless)
        except NeuropodError as error:
            outcome = error
        except Exception as error:  # a bug of ours, or no memory: callers must hear of it all the same
            outcome = LoadError(f"model {self._name!r} cannot be loaded: {type(error).__name__}: {error}")
        failure = outcome.cause if isinstance(outcome, _NotBegun) else outcome
        if isinstance(failure, NeuropodError):  # that would keep this frame alive, and with it what it refers to
            failure.__traceback__ = failure.__context__ = failure.__cause__ = None
        thread, result = threading.current_thread(), outcome
        try:
            self._loop.call(lambda: self._attempted(thread, result))
        except HandleClosed as error:
            self._tell(error)
