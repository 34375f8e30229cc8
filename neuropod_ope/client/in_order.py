"""The calls of a model in this process that nobody waits for."""

from __future__ import annotations

import threading
from typing import Protocol

from neuropod_ope.client.background import Background
from neuropod_ope.client.backlog import Backlog
from neuropod_ope.client.executor import Pending, Request
from neuropod_ope.client.future import Task
from neuropod_ope.errors import HandleClosed


class Submits(Protocol):
    """The executor: what is submitted to it runs in the calling thread."""

    def submit(self, request: Request, deadline: float | None) -> Pending: ...


class CallsInOrder:
    """Runs tasks one after the other in a thread, in the order in which they came. Implements Runner."""

    def __init__(self, executor: Submits, name: str) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._backlog = Backlog()
        self._closed = False
        self._thread = Background(name, self._work)

    def enqueue(self, task: Task) -> None:
        """Raises QueueFull, HandleClosed."""
        task.runner = self
        with self._lock:
            if self._closed:
                raise HandleClosed("the model was closed: load it again")
            self._backlog.append(task)
        self._thread.wake()

    def withdraw(self, task: Task) -> bool:
        """False once it runs."""
        with self._lock:
            return self._backlog.remove(task)

    def overdue(self, task: Task) -> None:
        """Never: calls in this process have no deadlines."""

    def close(self) -> None:
        """Fail what has not been started with HandleClosed, and wait for what has."""
        self.abandon()
        self._thread.join()

    def abandon(self) -> None:
        """The same without waiting and without a lock."""
        self._closed = True
        self._thread.end()

    def _work(self) -> None:
        while not self._closed:
            with self._lock:
                task = self._backlog.first()
                if task is None:
                    return
                self._backlog.remove(task)
            try:
                outputs = self._executor.submit(task.request, None).result(None)
            except BaseException as error:  # whatever it is, the caller is to be told
                task.fail(error)
            else:
                task.succeed(outputs)
        with self._lock:
            tasks = self._backlog.clear()
        for task in tasks:
            task.fail(HandleClosed("the model was closed before it began the call"))
