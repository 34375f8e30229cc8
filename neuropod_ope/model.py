"""The handle of a loaded model."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np

from neuropod_ope.client.accepted import AcceptedCalls
from neuropod_ope.client.deadlines import Deadlines, deadline_in
from neuropod_ope.client.executor import Executor, Pending, Request, WorkerInfo
from neuropod_ope.client.future import InferFuture, Task
from neuropod_ope.client.health import Health
from neuropod_ope.client.inputs import InputReader
from neuropod_ope.client.memory import InputMemory
from neuropod_ope.errors import HandleClosed, InferTimeout, NeuropodError
from neuropod_ope.supervisor.startup import Startup
from neuropod_worker.package import Package
from neuropod_worker.problem.checks import check_inputs, select_outputs
from neuropod_worker.problem.specs import TensorSpec

_STUCK_S = 60.0


class Neuropod:
    """A model, ready to be called from any thread. Made by `load_neuropod` or `Runtime.load`.

    ``name`` and ``platform`` are the package's, ``inputs`` and ``outputs`` its problem definition.
    ``free_memory_every_cycle``: each call begins with ``free_unused_memory()``. Close it, or use it as a context
    manager; a handle that is garbage-collected closes itself.
    """

    def __init__(
        self,
        package: Package,
        make_executor: Callable[[], Executor],
        out_of_process: bool,
        validate: bool,
        timeout: float | None,
        memory: InputMemory,
        deadlines: Deadlines,
    ) -> None:
        self.name: str = package.name
        self.platform: str = package.platform
        self.inputs: tuple[TensorSpec, ...] = package.inputs
        self.outputs: tuple[TensorSpec, ...] = package.outputs
        self.path: str = package.path
        self.free_memory_every_cycle = False
        self._make_executor = make_executor
        self._out_of_process = out_of_process
        self._timeout = timeout
        self._deadlines = deadlines
        self._reader = InputReader(package.inputs, validate)
        self._memory = memory
        self._executors: list[Executor] = []  # one, when there is one: a list can be shared with the finalizer
        self._loading = threading.Lock()
        self._environment_s = 0.0
        self._state = "new"
        self._draining = False
        self._accepted = AcceptedCalls()
        if out_of_process:
            _with_workers.add(self)
        self._finalizer = weakref.finalize(self, _abandon_all, self._executors)
        self._finalizer.atexit = False  # an application may use its models until the very end; workers end with it

    def load(self, timeout: float | None = None) -> None:
        """Load the model now; does nothing if it is loaded.

        ``timeout`` (seconds) does not cover the building of an environment. Raises LoadError, PackageError,
        NoMatchingEnvironment, EnvironmentBuildError, WorkerDied, InferTimeout.
        """
        self._loaded(None if timeout is None else self._deadline(timeout))

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until a call would be run: until the model is loaded, the first time or again after a death.

        Unlike `load`, it does not try again what has been given up. ``timeout`` (seconds) and errors as there.
        """
        deadline = None if timeout is None else self._deadline(timeout)
        self._loaded(deadline, afresh=False)

    def _loaded(self, deadline: float | None, afresh: bool = True) -> Executor:
        with self._loading:
            self._check_accepting()
            if not self._executors:
                started = time.monotonic()
                self._executors.append(self._make_executor())
                self._environment_s = time.monotonic() - started
            executor = self._executors[0]
            if self._state == "closed":  # meanwhile: an environment may take minutes to build
                executor.close()
                self._check_open()
        if afresh:
            executor.load(deadline)
        else:
            executor.wait_ready(deadline)
        with self._loading:
            self._check_open()
            self._state = "ready"
            if self._draining:
                self._state = "draining"
        return executor

    def infer(
        self,
        inputs: Mapping[str, Any],
        requested_outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Run the model: tensors by name in, arrays by name out.

        Inputs may be anything that numpy, the buffer protocol or DLPack understands; an input may be left out,
        and the model then sees that. ``requested_outputs`` selects a subset. ``timeout`` (seconds) needs a model
        that runs out of process; without it the model's default holds. The arrays that come back are the
        caller's, for as long as it likes.

        Raises SpecError (what does not fit the problem definition), ModelError (the model's own exception),
        WorkerDied, InferTimeout, SharedMemoryExhausted, HandleClosed.
        """
        mark = object()
        key, accepted = id(mark), self._accepted
        try:
            accepted.add(key)
            deadline = self._begin(timeout)
            latest = self._reader.signatures.latest
            if latest is not None and requested_outputs is None and self._state == "ready":
                answer = self._executors[0].infer_at_once(latest, inputs, deadline)
                if answer is not None:
                    return answer if isinstance(answer, dict) else answer.result(deadline)
            request = self._request(inputs, requested_outputs)
            executor = self._executors[0] if self._state == "ready" else self._loaded(deadline)
            return executor.submit(request, deadline).result(deadline)
        finally:
            accepted.discard(key)
            accepted.tell()

    def submit(
        self,
        inputs: Mapping[str, Any],
        requested_outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Future[dict[str, np.ndarray]]:
        """Like `infer`, without waiting: the outputs, or the error, come with the future.

        The arrays in ``inputs`` may be changed as soon as this returns. Calls start in the order in which they were
        submitted; ``cancel()`` of the future works until its call starts. Callbacks of futures run in a thread of the
        model's and hold the others up, so they should be short, and not wait for another future. A model that was not
        loaded yet is loaded first.

        In this process, too, such calls run one after the other, in a thread of the model's.

        Raises at once: SpecError, QueueFull (so much was submitted that waiting for some of it is due),
        SharedMemoryExhausted, HandleClosed, and what loading raises.
        """
        deadline = self._begin(timeout)
        request = self._request(inputs, requested_outputs)
        key = id(request)
        try:
            self._accepted.add(key)
            if self._state != "ready":
                self._loaded(deadline)
            return self._enqueue(request, deadline, detached=True)
        finally:
            self._accepted.discard(key)
            self._accepted.tell()

    async def infer_async(
        self,
        inputs: Mapping[str, Any],
        requested_outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Like `infer`, for coroutines: the event loop goes on. Cancelling cancels a call that has not started.

        Any number of them may wait, each for its turn. As with `infer`, arrays in ``inputs`` must not be changed
        meanwhile.
        """
        import asyncio  # 30 ms; who calls this has imported it, and nobody else needs it

        deadline = self._begin(timeout)
        request = self._request(inputs, requested_outputs)
        key = id(request)
        try:
            self._accepted.add(key)
            if self._state != "ready":
                await asyncio.get_running_loop().run_in_executor(None, self._loaded, deadline)
            future = self._enqueue(request, deadline, detached=False)
        finally:
            self._accepted.discard(key)
            self._accepted.tell()
        return await asyncio.wrap_future(future)

    def infer_many(
        self,
        many: Iterable[Mapping[str, Any]],
        requested_outputs: Sequence[str] | None = None,
        timeout: float | None = None,
        *,
        max_in_flight: int = 8,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Like `infer` for each of ``many``: yields their outputs in their order.

        Up to ``max_in_flight`` calls are sent ahead, so that the next inputs are made and placed while the worker
        computes; arrays may be changed as soon as the next ones are asked for. In this process calls run one at a
        time, as results are asked for. ``timeout`` is for each call, from when it was sent.

        The first error ends the iteration. Then, and when the iterator is closed, what is in flight is cancelled.
        """
        if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int) or max_in_flight < 1:
            raise ValueError(f"max_in_flight must be a whole number of calls, at least 1, not {max_in_flight!r}")
        if not self._out_of_process:
            return (self.infer(inputs, requested_outputs, timeout) for inputs in many)
        return self._infer_ahead(many, requested_outputs, timeout, max_in_flight)

    def _infer_ahead(
        self,
        many: Iterable[Mapping[str, Any]],
        requested_outputs: Sequence[str] | None,
        timeout: float | None,
        max_in_flight: int,
    ) -> Iterator[dict[str, np.ndarray]]:
        ahead: deque[tuple[Pending, float | None]] = deque()
        try:
            for inputs in many:
                deadline = self._begin(timeout)
                request = self._request(inputs, requested_outputs)
                key = id(request)
                try:
                    self._accepted.add(key)
                    executor = self._executors[0] if self._state == "ready" else self._loaded(deadline)
                    ahead.append((executor.submit(request, deadline), deadline))
                    ahead[-1][0].detach()
                finally:
                    self._accepted.discard(key)
                    self._accepted.tell()
                if len(ahead) == max_in_flight:
                    pending, deadline = ahead.popleft()
                    yield pending.result(deadline)
            while ahead:
                pending, deadline = ahead.popleft()
                yield pending.result(deadline)
        finally:
            for pending, _ in ahead:
                pending.cancel()

    def _begin(self, timeout: float | None) -> float | None:
        """The deadline of a call that begins now."""
        if self.free_memory_every_cycle:
            self.free_unused_memory()
        if timeout is None:
            timeout = self._timeout
        return None if timeout is None else self._deadline(timeout)

    def _request(self, inputs: Mapping[str, Any], requested_outputs: Sequence[str] | None) -> Request:
        signature, arrays = self._reader.read(inputs)
        requested = None
        if requested_outputs is not None:
            requested = select_outputs(self.outputs, requested_outputs)
        return Request(signature, arrays, requested)

    def _call_done(self, key: int) -> None:
        self._accepted.discard(key)
        self._accepted.tell()

    def _enqueue(self, request: Request, deadline: float | None, detached: bool) -> InferFuture:
        task = Task(request, deadline, detached, self)
        try:
            self._accepted.add(id(task))
            self._executors[0].enqueue(task)
        except BaseException:  # not taken, or interrupted: undo, then re-raise
            task.let_go()
            raise
        if deadline is not None:
            self._deadlines.add(deadline, task)
        return task.future

    def allocate(self, name: str, shape: Sequence[int]) -> np.ndarray:
        """An uninitialised array for input ``name`` that reaches the worker without a copy. Reusable.

        Its dtype is the spec's. While a call with it is in flight it is read-only. It outlives the model. Parts of it
        cross without a copy, too, if they are contiguous. At most 64 KB are ordinary memory and copied, which takes
        less time. Raises SpecError, SharedMemoryExhausted.
        """
        return self._memory.allocate(name, shape)

    def allocate_like(self, name: str, array: np.ndarray) -> np.ndarray:
        """`allocate` in the shape of ``array``."""
        return self._memory.allocate(name, np.shape(array))

    def wrap(self, name: str, file: Any, shape: Sequence[int], offset: int = 0) -> np.ndarray:
        """Memory that the application has in a file (memfd, /dev/shm, a recording), as an array for input ``name``.

        ``file``: a path, a descriptor or a file object; it may be closed afterwards. The worker maps the same pages.
        They are at ``offset`` bytes, in native byte order and C order, with the dtype of the spec; the array can be
        written to if the file can. Do not truncate the file while the array is in use: that is SIGBUS, here and in
        the worker.
        Raises SpecError, ValueError for bytes that the file does not have, OSError.
        """
        return self._memory.wrap(name, file, shape, offset)

    def seal(self, name: str, array: np.ndarray) -> np.ndarray:
        """A read-only copy of ``array`` for input ``name``, placed and announced to the worker before the call.

        So both overlap with other work. Raises SpecError, SharedMemoryExhausted.
        """
        check_inputs(self.inputs, {name: np.asarray(array)})
        sealed = self.allocate_like(name, array)
        np.copyto(sealed, array, casting="equiv")
        sealed.flags.writeable = False
        for executor in self._executors:
            executor.announce(name, sealed)
        return sealed

    def free_unused_memory(self) -> None:
        """Give shared memory that no array uses back to the system; it is kept for reuse otherwise."""
        self._memory.trim()
        for executor in self._executors:
            executor.free_unused_memory()

    def health(self, stuck_after: float | None = None) -> Health:
        """Whether the model lives, whether it takes calls, and what its workers are doing, as separate facts.

        A worker that is at one request for longer than ``stuck_after`` seconds (default: the model's ``timeout``, or
        60) is not well. Takes 0.2 s where a worker does not hear, and microseconds otherwise.
        """
        if self._state in ("closed", "forked"):
            return Health(False, False, self._state, ())
        if not self._executors:
            return Health(False, False, "new", ())
        if stuck_after is None:
            stuck_after = self._timeout or _STUCK_S
        health = self._executors[0].health(stuck_after)
        return replace(health, ready=False, state="draining") if self._draining else health

    def drain(self, timeout: float | None = None) -> None:
        """Take no more calls, and wait until all that were taken are done. The model stays loaded: `close` it next.

        A call of `infer_many` that was sent ahead is done when its outputs are there. ``timeout``: seconds.
        Raises InferTimeout: calls are under way still, and none is taken. HandleClosed.
        """
        self._check_open()
        deadline = None if timeout is None else deadline_in(timeout)
        self._draining = True
        if self._state == "ready":
            self._state = "draining"
        done = self._accepted.wait_done(deadline)
        if not done or not all(executor.wait_answered(deadline) for executor in self._executors):
            raise InferTimeout(f"model {self.name!r} was not drained in time: calls are under way", self.name)

    def close(self) -> None:
        """End the worker and give everything back. Outputs stay valid. Idempotent."""
        self._state = "closed"
        self._finalizer.detach()
        for executor in self._executors:
            executor.close()

    @property
    def startup(self) -> Startup | None:
        """How long the model took to be ready, by parts; of the worker that serves, the slowest of several instances.
        None before that."""
        startup = self._executors[0].startup() if self._executors else None
        return None if startup is None else startup._replace(environment=self._environment_s)

    @property
    def workers(self) -> tuple[WorkerInfo, ...]:
        """Facts about the worker processes; empty for a model in this process, and for one that is closed."""
        if self._state == "closed":
            return ()
        return tuple(info for executor in self._executors for info in executor.workers())

    def _deadline(self, timeout: float) -> float:
        if not self._out_of_process:
            raise NeuropodError(
                f"model {self.name!r} runs in this process, where a call cannot be stopped: "
                "load it with out_of_process=True to use a timeout"
            )
        return deadline_in(timeout)

    def _check_accepting(self) -> None:
        self._check_open()
        if self._draining:
            raise HandleClosed(f"model {self.name!r} is being drained: it finishes what it has and takes nothing new")

    def _check_open(self) -> None:
        if self._state == "forked":
            raise HandleClosed(
                f"model {self.name!r} was loaded before this process was forked, and its worker belongs to the "
                "parent: load it again in this process"
            )
        if self._state == "closed":
            raise HandleClosed(f"model {self.name!r} is closed: load it again")

    def __reduce__(self) -> str:
        raise TypeError(
            f"the handle of model {self.name!r} belongs to this process and cannot be pickled: send the path of its "
            "package and load it there"
        )

    def __enter__(self) -> Neuropod:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "in this process"
        if self._out_of_process:
            shown = [f"pid={w.pid} {w.state} restarts={w.restarts}" for w in self.workers]
            where = "out of process, " + ("; ".join(shown) or "no worker yet")
        return f"<Neuropod {self.name!r} {self.platform} {self._state}, {where}>"


_with_workers: weakref.WeakSet[Neuropod] = weakref.WeakSet()


def _forget_in_forked_child() -> None:
    for model in list(_with_workers):
        model._state = "forked"
        model._loading = threading.Lock()
        model._executors.clear()  # not closed: the workers are the parent's


os.register_at_fork(after_in_child=_forget_in_forked_child)


def _abandon_all(executors: list[Executor]) -> None:
    while executors:
        executors.pop().abandon()
