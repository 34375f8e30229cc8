"""The calls of a model in a worker that nobody waits for.

A call is sent by its caller's thread if there is room at once. Else it goes to the backlog, and a thread sends it
when its turn comes; the same thread loads the model into a fresh worker if need be, receives where no waiting caller
does, and completes the futures. It is started by the first such call; a model that is only waited for has none.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

from neuropod_ope.client.attempts import Attempts
from neuropod_ope.client.background import Background
from neuropod_ope.client.backlog import Backlog
from neuropod_ope.client.call import Call
from neuropod_ope.client.connection import Connection
from neuropod_ope.client.executor import Request
from neuropod_ope.client.future import Task
from neuropod_ope.client.line import Turn
from neuropod_ope.errors import HandleClosed, InferTimeout, NeuropodError, QueueFull
from neuropod_worker.wire import messages as m


class Sender(Protocol):
    """What is needed of the executor. See OutOfProcessExecutor."""

    def live(self) -> Connection | None: ...

    def ready(self, deadline: float | None) -> Connection: ...

    def send_task(self, connection: Connection, task: Task, turn: Turn | None) -> Call: ...

    def check_in_time(self, deadline: float | None) -> None: ...

    def try_again(self, connection: Connection, call: Call, attempts: Attempts, request: Request) -> None: ...

    def give_up(self, connection: Connection, call: Call, request: Request | None) -> None: ...

    def kill_if_running(self, connection: Connection, call: Call) -> bool: ...

    def heir_of_tasks(self) -> UnattendedCalls | None: ...


class UnattendedCalls:
    """Runs tasks in the order in which they came. Implements Runner and, towards the connection, Finisher."""

    def __init__(self, sender: Sender, name: str) -> None:
        self._sender = sender
        self._lock = threading.Lock()  # around what is waiting and in flight; taken before the connection's
        self._backlog = Backlog()
        self._tasks: dict[Call, Task] = {}  # in flight; whoever takes one out completes it
        self._finished: deque[Call] = deque()
        self._connection: Connection | None = None  # where something was sent last
        self._turn: Turn | None = None  # the thread's place in its line
        self._closed = False
        self._thread = Background(name, self._work)

    # ---- from any thread

    def enqueue(self, task: Task) -> None:
        """Send a task, or have it sent when its turn comes. Raises QueueFull and what sending raises, but for a
        deadline that has passed."""
        task.runner = self
        try:
            with self._lock:
                if self._closed:
                    raise HandleClosed("the model was closed: load it again")
                self._sender.check_in_time(task.deadline)
                connection = None if self._backlog else self._sender.live()
                if connection is None or not self._send(connection, task):
                    self._backlog.append(task)
        except InferTimeout as error:
            task.fail(error)
        self._thread.wake()

    def _send(self, connection: Connection, task: Task) -> bool:
        """With the lock held. False if there is no room."""
        try:
            call = self._sender.send_task(connection, task, self._turn)
        except QueueFull:
            return False
        self._turn = None
        self._connection = connection
        self._tasks[call] = task
        task.sent(connection, call)
        return True

    def withdraw(self, task: Task) -> bool:
        """Do not start ``task``. False if the worker is at it, and is not to be killed for that; in the moment in
        which it begins, it may begin."""
        with self._lock:
            if self._backlog.remove(task):
                return True
            connection, call = task.connection, task.call
            if connection is None or call is None or call.done:
                return False
            if connection.busy_with() == call.request:
                return self._sender.kill_if_running(connection, call)
            connection.cancel(call)
            return True

    def overdue(self, task: Task) -> None:
        """Fail it with InferTimeout, unless it is answered in this moment."""
        with self._lock:
            connection, call = task.connection, task.call
            waiting = self._backlog.remove(task)
            if not waiting and (connection is None or call is None or self._tasks.pop(call, None) is None):
                return
        try:
            if waiting:
                self._sender.check_in_time(task.deadline)
            elif connection is not None and call is not None:
                self._sender.give_up(connection, call, task.request)
        except NeuropodError as error:
            task.fail(error)
        else:
            if connection is not None and call is not None and not self._complete(task, connection, call):
                self._put_first([task])

    @property
    def waiting(self) -> int:
        return len(self._backlog)

    def take_over(self, tasks: list[Task]) -> None:
        """Run tasks of another one, before those of its own."""
        for task in tasks:
            task.runner = self
        self._put_first(tasks)
        if self._closed:  # its thread may have ended
            self._fail_the_rest()

    def finished(self, call: Call) -> None:
        self._finished.append(call)
        self._thread.wake()

    def close(self) -> None:
        """Fail what is not answered with HandleClosed, and wait until that is done."""
        self.abandon()
        self._thread.join()

    def abandon(self) -> None:
        """The same without waiting and without a lock."""
        self._closed = True
        self._thread.end()

    # ---- in the thread

    @property
    def done(self) -> bool:
        """What the thread waits for: something to do."""
        if self._finished or self._closed:
            return True
        return not self._tasks if self._turn is None else self._turn.done

    def _work(self) -> None:
        while True:
            self._deliver()
            if self._closed:
                self._leave_line()
                self._fail_the_rest()
                return
            if not self._tasks or self._sender.live() is not None:  # else there is something to deliver soon
                self._hand_over()
                self._send_backlog()
            if self._connection is None or not (self._tasks or self._turn):
                if self._finished:
                    continue
                return
            self._connection.wait(self, None)

    def _deliver(self) -> None:
        again = []
        while self._finished:
            call = self._finished.popleft()
            with self._lock:
                task = self._tasks.pop(call, None)
                connection = None if task is None else task.connection
            if task is not None and connection is not None and not self._complete(task, connection, call):
                again.append(task)
        if again:
            self._put_first(again)

    def _complete(self, task: Task, connection: Connection, call: Call) -> bool:
        """False if the call can be sent again."""
        if type(call.reply) is m.Result:
            task.succeed(call.outputs)
        elif type(call.reply) is not m.Cancelled and not task.future.cancelled():
            try:
                self._sender.try_again(connection, call, task.attempts, task.request)
            except NeuropodError as error:
                task.fail(error)
            else:
                return task.future.done()
        return True

    def _put_first(self, tasks: list[Task]) -> None:
        with self._lock:
            for task in reversed(tasks):
                self._backlog.put_first(task)
        self._thread.wake()

    def _hand_over(self) -> None:
        heir = self._sender.heir_of_tasks()
        if heir is not None:
            with self._lock:
                tasks = self._backlog.clear()
            heir.take_over(tasks)

    def _send_backlog(self) -> None:
        while (task := self._first()) is not None:
            try:
                connection = self._sender.ready(task.deadline)
                with self._lock:
                    if connection is not self._connection:
                        self._connection, self._turn = connection, None
                    if task is not self._backlog.first():  # withdrawn meanwhile
                        continue
                    if not self._send(connection, task):
                        self._turn = self._turn or connection.join_line(self)
                        return
                    self._backlog.remove(task)
            except Exception as error:  # whatever it is, its caller is to be told
                with self._lock:
                    removed = self._backlog.remove(task)
                if removed:
                    task.fail(error)
        self._leave_line()

    def _first(self) -> Task | None:
        with self._lock:
            return self._backlog.first()

    def _leave_line(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and self._connection is not None:
            self._connection.leave_line(turn)

    def _fail_the_rest(self) -> None:
        with self._lock:
            tasks = [*self._tasks.values(), *self._backlog.clear()]
            self._tasks.clear()
        for task in tasks:
            task.fail(HandleClosed("the model was closed during the call"))
