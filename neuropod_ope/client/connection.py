"""The client's end of one incarnation of a worker: requests, replies, death.

Any number of threads may have requests in flight. Exactly one thread at a time receives: the first that waits
takes the receiver's role, completes the others' calls too, and hands the role on when its own is complete. So
a lone caller pays for no second thread.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from typing import Any, NamedTuple

import numpy as np

from neuropod_ope.client.handshake import Launch, connect
from neuropod_ope.client.outputs import OutputReader
from neuropod_ope.errors import ProtocolViolation, QueueFull
from neuropod_ope.supervisor.diagnosis import Death
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_ope.supervisor.states import after
from neuropod_worker.shm import control
from neuropod_worker.shm.arena import Arena
from neuropod_worker.shm.frames import ReceivingFrames, SendingFrames, drain
from neuropod_worker.shm.waiting import WAIT_SLICE_S, AdaptiveWait
from neuropod_worker.wire import messages as m
from neuropod_worker.wire.codec import decode, encode
from neuropod_worker.wire.conversation import REQUEST, step

Key = tuple[Any, ...]  # name, dtype and shape of each tensor, flat: what makes two calls alike

_incarnations = itertools.count(1)


class Call:
    """One request in flight. Done when ``state`` is; then ``reply`` is set, or the connection has ended."""

    __slots__ = ("arrived", "model", "number", "outputs", "reply", "request", "state")

    def __init__(self, model: int, request: int) -> None:
        self.model = model
        self.request = request
        self.number = 0  # of its message in the mailbox, the first one is 1
        self.state = "new"
        self.reply: Any = None
        self.outputs: dict[str, np.ndarray] = {}
        self.arrived: threading.Event | None = None  # for a thread that waits while another one receives


class Ended(NamedTuple):
    """Why a connection takes no more requests, and how many messages the worker had taken by then."""

    death: Death | None
    violation: ProtocolViolation | None
    taken: int


class Connection:
    """One incarnation of a worker, from its start to its death. Thread-safe.

    Raises what `handshake.connect` raises.
    """

    def __init__(
        self, launch: Launch, model: str, loop: SupervisorLoop, logger: logging.Logger, deadline: float | None
    ) -> None:
        self.incarnation = next(_incarnations)
        self.state = "starting"
        self.ended: Ended | None = None
        self._death: Death | None = None
        self._open = False
        link = connect(launch, self.incarnation, model, loop, logger, self._on_death, deadline)
        self.process = link.process
        self.process.inherited.append(link.request_fd)
        self.python_version = link.python_version
        self._control = link.control
        self._request_fd: int | None = link.request_fd
        self._request_bell = link.request_bell
        self._reply_bell = link.reply_bell
        self._requests = control.request_mailbox(link.control)
        self._replies = control.reply_mailbox(link.control)
        self._inputs = SendingFrames(Arena(link.request_fd, link.request_memory.size), link.request_memory)
        self._frames = ReceivingFrames(link.reply_memory)
        self._outputs = OutputReader(link.reply_memory)
        self._lock = threading.Lock()  # around the request mailbox, the input frames and the two tables of calls
        self._receiver = threading.Lock()  # held by the one thread that receives
        self._wait = AdaptiveWait(link.reply_bell)
        self._calls: dict[int, Call] = {}
        self._followers: dict[int, Call] = {}
        self._last_request = 0
        self.state = after(self.state, "welcomed")
        self._open = True
        if self._death is not None:  # between the handshake and here
            self._settle_death()

    # ---- requests

    def load(self, model: int, path: str, visible_gpu: int | None, load_custom_ops: bool, validate: bool) -> Call:
        """Send Load. Its reply is Loaded or Failed."""
        with self._lock:
            if self.ended is not None:
                return self._stillborn(model)
            call = self._new_call(model, m.Load)
            self._send(call, m.Load, path, visible_gpu, load_custom_ops, validate)
        self._request_bell.ring()
        return call

    def infer(self, model: int, key: Key, inputs: dict[str, np.ndarray], requested: tuple[str, ...] | None) -> Call:
        """Place ``inputs`` and send Infer. Its reply is Result (then ``outputs`` is set) or Failed.

        Raises QueueFull, SharedMemoryExhausted, SpecError (text that UTF-8 cannot carry).
        """
        with self._lock:
            if self.ended is not None:
                return self._stillborn(model)
            if len(self._calls) >= control.SLOTS:
                raise QueueFull(f"{control.SLOTS} requests are in flight: wait for some of them")
            frame = self._inputs.acquire(key, inputs)
            call = self._new_call(model, m.Infer)
            try:
                self._send(call, m.Infer, frame.id, frame.tensors, requested)
            except BaseException:
                self._inputs.release((frame.id,))
                raise
            frame.tensors = None
        self._request_bell.ring()
        return call

    def cancel(self, call: Call) -> None:
        """Ask the worker not to start ``call``. Whoever waits for it gets Cancelled, or what it came to."""
        with self._lock:
            if call.state == "running":
                call.state = step(REQUEST, call.state, m.Cancel)
                self._put(m.Cancel(self.incarnation, call.model, call.request, 0, (), ()))
        self._request_bell.ring()

    def _new_call(self, model: int, kind: Any) -> Call:
        self._last_request += 1
        call = Call(model, self._last_request)
        call.state = step(REQUEST, "new", kind)
        self._calls[call.request] = call
        return call

    def _send(self, call: Call, kind: Any, *body: Any) -> None:
        released = drain(self._outputs.released)
        retired = drain(self._inputs.retired)
        try:
            self._put(kind(self.incarnation, call.model, call.request, 0, released, retired, *body))
        except BaseException:
            self._outputs.released.extend(released)
            self._inputs.retired.extend(retired)
            del self._calls[call.request]
            raise
        call.number = self._requests.written

    def _stillborn(self, model: int) -> Call:
        """A call that is done without a reply: the worker ended before anything was sent."""
        call = Call(model, 0)
        call.number = self._requests.written + 1
        call.state = "done"
        return call

    def _put(self, message: m.Message) -> None:
        data = encode(message)
        if len(data) <= control.INLINE_LIMIT:
            self._requests.put(data)
        else:
            self._requests.put_elsewhere(self._inputs.put_bytes(data))

    # ---- replies

    def wait(self, call: Call, deadline: float | None) -> bool:
        """Block until ``call`` is done: True, or False after ``deadline`` (time.monotonic)."""
        while call.state != "done":
            if self._receiver.acquire(blocking=False):
                try:
                    self._receive_until(call, deadline)
                finally:
                    self._receiver.release()
                    if self._followers:
                        self._promote()
            else:
                self._follow(call, deadline)
            if call.state != "done" and deadline is not None and time.monotonic() >= deadline:
                return False
        return True

    def wait_room(self, deadline: float | None) -> None:
        """Block until the oldest request in flight is done, or until ``deadline``."""
        with self._lock:
            oldest = next(iter(self._calls.values()), None)
        if oldest is not None:
            self.wait(oldest, deadline)

    def _receive_until(self, call: Call, deadline: float | None) -> None:
        remaining = WAIT_SLICE_S
        while call.state != "done":
            if deadline is not None:
                remaining = deadline - time.monotonic()
            rung = self._wait.wait_rung(remaining)
            self._receive_all()
            if self._death is not None:
                self._settle()
            if not rung and deadline is not None and time.monotonic() >= deadline:
                return

    def _follow(self, call: Call, deadline: float | None) -> None:
        """Let the receiving thread complete ``call``, or take over from it when it leaves."""
        with self._lock:
            if call.state == "done":
                return
            call.arrived = call.arrived or threading.Event()
            call.arrived.clear()
            self._followers[call.request] = call
        if self._receiver.locked():  # else it left before it could see us
            remaining = WAIT_SLICE_S if deadline is None else min(WAIT_SLICE_S, deadline - time.monotonic())
            call.arrived.wait(max(remaining, 0.0))
        with self._lock:
            self._followers.pop(call.request, None)

    def _promote(self) -> None:
        with self._lock:
            for call in self._followers.values():
                if call.arrived is not None:
                    call.arrived.set()
                    return

    def _receive_all(self) -> None:
        """Complete what has been answered. Only by the receiving thread."""
        try:
            while True:
                taken = self._replies.take()
                if taken is None:
                    return
                if isinstance(taken, control.Elsewhere):
                    self._outputs.released.append(taken.frame)
                    taken = self._frames.take_bytes(taken)
                self._complete(decode(taken))
        except ProtocolViolation as violation:
            self.ended = self.ended or Ended(None, violation, self._requests.taken)
            self.process.kill()

    def _complete(self, reply: Any) -> None:
        call = self._calls.get(reply.request)
        if reply.incarnation != self.incarnation or call is None or call.model != reply.model:
            raise ProtocolViolation(f"nobody waits for {reply}")
        step(REQUEST, call.state, type(reply))
        if reply.retired:
            self._frames.retire(reply.retired)
        if type(reply) is m.Result:
            call.outputs = self._outputs.read(self._frames.frame(reply.frame, reply.tensors))
        call.reply = reply
        with self._lock:
            if reply.released:
                self._inputs.release(reply.released)
            self._finish(call)

    def _finish(self, call: Call) -> None:
        """With the lock held."""
        del self._calls[call.request]
        call.state = "done"
        if call.arrived is not None:
            call.arrived.set()

    # ---- death

    def _on_death(self, death: Death) -> None:
        """In the supervisor's thread."""
        self._death = death
        if self._open:
            self._settle_death()

    def _settle_death(self) -> None:
        self._reply_bell.ring()  # whoever receives wakes up and settles; if nobody does, we do
        if self._receiver.acquire(blocking=False):
            try:
                self._receive_all()
                self._settle()
            finally:
                self._receiver.release()
                self._promote()

    def _settle(self) -> None:
        """The worker is gone and its last words have been read: nothing more will come."""
        with self._lock:
            if self.ended is None or self.ended.death is None:
                violation = self.ended.violation if self.ended is not None else None
                self.ended = Ended(self._death, violation, self._requests.taken)
                self.state = after(self.state, "died")
            for call in list(self._calls.values()):
                self._finish(call)
            if self._request_fd is not None:
                self.process.inherited.clear()
                os.close(self._request_fd)
                self._request_fd = None
                self._request_bell.close()
                self._reply_bell.close()

    # ---- the rest

    def stats(self) -> control.Stats:
        """What the worker is doing and has done."""
        return control.read_stats(self._control)

    def close(self, grace: float) -> None:
        """End the worker: Shutdown and ``grace`` seconds if it is idle, SIGKILL otherwise."""
        with self._lock:
            if self.state == "ready":
                self.state = after(self.state, "closed")
            idle = self.ended is None and not self._calls
            if idle:
                self._put(m.Shutdown(self.incarnation, 0, 0, 0, (), ()))
        if idle:
            self._request_bell.ring()
        self.process.end(grace if idle else 0.0)
