"""The deadlines of calls that nobody waits for. One thread per runtime, started by the first call that has one."""

from __future__ import annotations

import heapq
import itertools
import numbers
import threading
import time
import weakref
from collections.abc import Callable

from neuropod_ope.client.background import Background
from neuropod_ope.client.future import Task

_LONGEST_S = 10**8  # three years: longer timeouts overflow what the system's waits take
_AGAIN_S = 0.05  # a task may be on its way from one runner to another, or to be sent again
_FEW = 1000  # entries of tasks that are done may stay in the heap until they outnumber these, and the others


def deadline_in(timeout: float) -> float:
    """The moment on ``time.monotonic`` that lies ``timeout`` seconds ahead, or back. Raises ValueError."""
    if not isinstance(timeout, numbers.Real) or timeout != timeout:
        raise ValueError(f"a timeout is a number of seconds, not {timeout!r}")
    return time.monotonic() + min(timeout, _LONGEST_S)


class Deadlines:
    """Tells a task's runner when the task's deadline has passed, and again until it is done. Thread-safe.

    Tasks belong to their runners and to those who wait for them; here they are only referred to, for a task that is
    done has outputs, and its deadline may be far away.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._heap: list[tuple[float, int, weakref.ref[Task]]] = []
        self._count = itertools.count()
        self._swept_at = _FEW
        self._thread = Background("neuropod-deadlines", self.tell)
        self.end = self._thread.end
        self.join = self._thread.join

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, deadline: float, task: Task) -> None:
        with self._lock:
            if len(self._heap) >= self._swept_at:
                self._heap = [entry for entry in self._heap if _waits(entry[2]())]
                heapq.heapify(self._heap)
                self._swept_at = _FEW + 2 * len(self._heap)
            entry = (deadline, next(self._count), weakref.ref(task))
            heapq.heappush(self._heap, entry)
            earliest = self._heap[0] is entry
        if earliest:
            self._thread.wake()

    def tell(self) -> float | None:
        """Tell about what has passed; return in how many seconds the next one does."""
        while True:
            with self._lock:
                if not self._heap:
                    return None
                seconds = self._heap[0][0] - self._clock()
                if seconds > 0:
                    return seconds
                task = heapq.heappop(self._heap)[2]()
            if task is not None and _waits(task) and task.runner is not None:
                task.runner.overdue(task)
                if not task.future.done():
                    self.add(self._clock() + _AGAIN_S, task)


def _waits(task: Task | None) -> bool:
    return task is not None and not task.future.done()
