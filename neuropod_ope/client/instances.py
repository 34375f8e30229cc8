"""One model in several workers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from neuropod_ope.client.dispatch import Standing, least_busy
from neuropod_ope.client.executor import Pending, Request, WorkerInfo
from neuropod_ope.client.future import Task
from neuropod_ope.client.health import Health, together
from neuropod_ope.client.out_of_process import OutOfProcessExecutor
from neuropod_ope.supervisor.startup import Startup
from neuropod_worker.problem.signatures import Signature

T = TypeVar("T")


class Instances:
    """Implements Executor: each request goes to the least busy of several executors, and each of those replaces its
    own worker when it dies. What a dead one had not begun goes to a live one."""

    def __init__(self, executors: Sequence[OutOfProcessExecutor]) -> None:
        self._executors = tuple(executors)
        self._lock = threading.Lock()
        self._coming: dict[object, int] = {}  # whose requests are on their way, not counted by an executor yet
        for executor in executors:
            executor.heir = self._heir_of

    def load(self, deadline: float | None) -> None:
        for executor in self._executors:
            executor.begin_load(afresh=True)
        for executor in self._executors:
            executor.load(deadline)

    def wait_ready(self, deadline: float | None) -> None:
        """One that is ready is enough."""
        for executor in self._executors:
            executor.begin_load(afresh=False)
        if not any(executor.live() for executor in self._executors):
            hopeful = [executor for executor in self._executors if not executor.stopped]
            (hopeful or self._executors)[0].wait_ready(deadline)

    def health(self, stuck_after: float) -> Health:
        return together([executor.health(stuck_after) for executor in self._executors])

    def wait_answered(self, deadline: float | None) -> bool:
        return all(executor.wait_answered(deadline) for executor in self._executors)

    def infer_at_once(
        self, signature: Signature, inputs: Any, deadline: float | None
    ) -> dict[str, np.ndarray] | Pending | None:
        return self._with_least_busy(lambda executor: executor.infer_at_once(signature, inputs, deadline))

    def submit(self, request: Request, deadline: float | None) -> Pending:
        return self._with_least_busy(lambda executor: executor.submit(request, deadline))

    def enqueue(self, task: Task) -> None:
        self._with_least_busy(lambda executor: executor.enqueue(task))

    def _with_least_busy(self, act: Callable[[OutOfProcessExecutor], T]) -> T:
        mark, arrived = object(), self._coming.pop
        try:
            with self._lock:
                index = self._coming[mark] = least_busy(self._standings())
            return act(self._executors[index])
        finally:
            arrived(mark, None)  # in C: no interrupt comes before it

    def _standings(self) -> list[Standing]:
        standings, coming = [executor.standing() for executor in self._executors], list(self._coming.values())
        return [Standing(live, unanswered + coming.count(n)) for n, (live, unanswered) in enumerate(standings)]

    def _heir_of(self, executor: OutOfProcessExecutor) -> OutOfProcessExecutor:
        """Who takes over what ``executor`` has: itself, unless it is dead and another one lives."""
        if executor.standing().live:
            return executor
        with self._lock:
            heir = self._executors[least_busy(self._standings())]
        return heir if heir.standing().live else executor

    def announce(self, name: str, array: np.ndarray) -> None:
        for executor in self._executors:
            executor.announce(name, array)

    def free_unused_memory(self) -> None:
        for executor in self._executors:
            executor.free_unused_memory()

    def startup(self) -> Startup | None:
        """The longest of all."""
        startups = [startup for executor in self._executors if (startup := executor.startup()) is not None]
        return max(startups, key=sum, default=None)

    def workers(self) -> tuple[WorkerInfo, ...]:
        return tuple(info for executor in self._executors for info in executor.workers())

    def close(self) -> None:
        with ThreadPoolExecutor(len(self._executors)) as pool:
            list(pool.map(OutOfProcessExecutor.close, self._executors))

    def abandon(self) -> None:
        for executor in self._executors:
            executor.abandon()
