"""What was submitted and could not be sent yet. Pure: no thread, no clock, no I/O."""

from __future__ import annotations

from collections import deque

from neuropod_ope.client.future import Task
from neuropod_ope.errors import QueueFull

MOST_TASKS = 1024
MOST_BYTES = 2**30  # of copied inputs


class Backlog:
    """Tasks in the order in which they came. Whoever owns it guards it with a lock.

    Bounded for callers that go on without waiting. Those who wait for their task are a bound themselves, and their
    inputs are not copied.
    """

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()
        self._copied = 0

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def append(self, task: Task) -> None:
        """Raises QueueFull. Copies the inputs of a detached task."""
        if task.detached:
            if len(self._tasks) >= MOST_TASKS or self._copied + task.nbytes > MOST_BYTES:
                raise QueueFull(
                    f"{len(self._tasks)} calls with {self._copied / 2**20:.0f} MiB of inputs wait already: wait for "
                    "some of their futures, or use infer_many"
                )
            task.snapshot()
            self._copied += task.nbytes
        self._tasks.append(task)

    def put_first(self, task: Task) -> None:
        """Back in, or taken over: it was accepted before, and is never refused."""
        if task.detached:
            self._copied += task.nbytes
        self._tasks.appendleft(task)

    def first(self) -> Task | None:
        return self._tasks[0] if self._tasks else None

    def remove(self, task: Task) -> bool:
        """False if it is not here."""
        if task not in self._tasks:
            return False
        self._tasks.remove(task)
        if task.detached:
            self._copied -= task.nbytes
        return True

    def clear(self) -> list[Task]:
        gone = list(self._tasks)
        self._tasks.clear()
        self._copied = 0
        return gone
