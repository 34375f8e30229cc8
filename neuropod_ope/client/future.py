"""Calls that nobody waits for, and the futures that their callers get."""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import Future, InvalidStateError
from typing import Protocol

import numpy as np

from neuropod_ope.client.attempts import Attempts
from neuropod_ope.client.call import Call
from neuropod_ope.client.connection import Connection
from neuropod_ope.client.executor import Request
from neuropod_ope.errors import HandleClosed
from neuropod_worker.problem.signatures import Signature

Outputs = dict[str, np.ndarray]

_NOTHING = Request(Signature(()), {}, None)


class Runner(Protocol):
    """Who has a task: it starts it, and completes it in a thread of its own."""

    def withdraw(self, task: Task) -> bool:
        """Do not start ``task``; False if it has been started."""
        ...

    def overdue(self, task: Task) -> None:
        """Its deadline has passed: fail it with InferTimeout, unless it is answered in this moment. May block."""
        ...


class Handle(Protocol):
    """The model's."""

    def _call_done(self, key: int) -> None: ...


class Task:
    """A call in the hands of a runner, which sets ``runner``.

    ``detached``: its caller goes on without it and may change its arrays. ``handle`` is kept alive until it is done.
    """

    __slots__ = (
        "__weakref__",
        "_copied",
        "attempts",
        "call",
        "connection",
        "deadline",
        "detached",
        "future",
        "handle",
        "request",
        "runner",
    )  # fmt: skip

    def __init__(self, request: Request, deadline: float | None, detached: bool, handle: Handle | None) -> None:
        self.request = request
        self.deadline = deadline
        self.detached = detached
        self.handle = handle
        self.attempts = Attempts()
        self._copied = False
        self.runner: Runner | None = None
        self.connection: Connection | None = None  # where and as what it was sent last
        self.call: Call | None = None
        self.future = InferFuture(self)

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.request.inputs.values())

    def snapshot(self) -> None:
        """Copy the inputs, so that the caller may change them. Idempotent."""
        if self._copied:
            return
        self._copied = True
        self.request = self.request.copied()

    def sent(self, connection: Connection, call: Call) -> None:
        """It has been sent as ``call``."""
        self.connection, self.call = connection, call
        if self.detached and not self._copied:
            self.request = call.detached(self.request)

    def succeed(self, outputs: Outputs) -> None:
        self.let_go()
        with contextlib.suppress(InvalidStateError):  # cancelled or overdue: nobody wants it any more
            self.future.set_result(outputs)

    def fail(self, error: BaseException) -> None:
        self.let_go()
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(error)

    def let_go(self) -> None:
        """It is done; the future may be kept for long, and what the call needed is not."""
        self.request = _NOTHING
        self.call = self.connection = None
        handle, self.handle = self.handle, None
        if handle is not None:
            handle._call_done(id(self))


class InferFuture(Future[Outputs]):
    """The outputs of a submitted call.

    ``cancel`` works until the worker begins the call. A process forked from this one sees what was done by then;
    waiting for the rest there raises HandleClosed.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task
        self._owner = os.getpid()

    def cancel(self) -> bool:
        """Do not start the call: True, or False if it is being run or done."""
        self._check_process()
        if self.done():
            return self.cancelled()
        runner = self._task.runner
        if runner is None or not runner.withdraw(self._task) or not super().cancel():
            return False
        self.set_running_or_notify_cancel()  # tells `concurrent.futures.wait` and `as_completed`
        self._task.let_go()
        return True

    def result(self, timeout: float | None = None) -> Outputs:
        self._check_process()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._check_process()
        return super().exception(timeout)

    def _check_process(self) -> None:
        if os.getpid() == self._owner:
            return
        self._condition = threading.Condition()  # a thread that stayed with the parent may have held the old one
        if not self.done():
            raise HandleClosed(
                "this call was submitted before this process was forked, and its answer goes to the parent: load the "
                "model in this process and call it here"
            )
