"""The client's end of one incarnation of a worker: requests, replies, death."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from neuropod_ope.client.call import Call, Finisher
from neuropod_ope.client.executor import Request
from neuropod_ope.client.handshake import Launch, connect
from neuropod_ope.client.health import Signs
from neuropod_ope.client.line import Line, Turn
from neuropod_ope.client.outputs import OutputReader
from neuropod_ope.client.receiver import Awaited, ReceiverRole
from neuropod_ope.errors import HandleClosed, ProtocolViolation, QueueFull
from neuropod_ope.supervisor.diagnosis import Death
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_ope.supervisor.process import WorkerProcess
from neuropod_ope.supervisor.states import WORKER, after
from neuropod_worker.problem.dtypes import dtype_name
from neuropod_worker.problem.signatures import Signature
from neuropod_worker.shm import control
from neuropod_worker.shm.arena import arena_over
from neuropod_worker.shm.frames import ReceivingFrames, SendingFrames, SentFrame, drain
from neuropod_worker.shm.placed import SharedFile, placed
from neuropod_worker.shm.waiting import WAIT_SLICE_S, make_wait
from neuropod_worker.wire import messages as m
from neuropod_worker.wire.codec import decode, encode
from neuropod_worker.wire.conversation import REQUEST, step

# Each of them may be cancelled while the worker is busy, which takes a slot as well; the rest is for loading and
# unloading. What waits for its turn on this side can be cancelled for certain.
IN_FLIGHT_LIMIT = control.SLOTS // 2 - 2

_incarnations = itertools.count(1)
_RUNNING = REQUEST["new"][m.Infer]
_HEARS_S = 0.2  # a worker that waits for requests and does not take one for so long does not hear
_LOOK_S = 0.0005
_BROKE_PROTOCOL = "it broke the protocol"
_INTERRUPTED = "a call was interrupted in the middle of a message"


class _Answered(NamedTuple):
    calls: dict[int, Call]

    @property
    def done(self) -> bool:
        return not self.calls


class Ended(NamedTuple):
    """Why a connection takes no more requests. ``running`` is the request that the worker was busy with, or 0."""

    death: Death | None
    violation: ProtocolViolation | None
    running: int


class Connection:
    """One incarnation of a worker, from its start to its death. Thread-safe.

    ``started`` is called with the process before the handshake, so that others can end it. Raises what
    `handshake.connect` raises.
    """

    def __init__(
        self,
        launch: Launch,
        model: str,
        loop: SupervisorLoop,
        logger: logging.Logger,
        deadline: float | None,
        started: Callable[[WorkerProcess], None],
    ) -> None:
        self.incarnation = next(_incarnations)
        self.state = "starting"
        self.ended: Ended | None = None
        # Whether it has answered a call or was ended for its caller's sake, so that its death is not held against it.
        self.blameless = False
        self.on_death: list[Callable[[Connection], None]] = []  # called once, in the supervisor's thread
        self._loop = loop
        self._death: Death | None = None
        self._receiver: ReceiverRole | None = None
        link = connect(launch, self.incarnation, model, loop, logger, self._on_death, deadline, started)
        self.process = link.process
        self.process.inherited.append(link.request_fd)
        self.python_version = link.python_version
        self._control = link.control
        self._request_fd = link.request_fd
        self._request_bell = link.request_bell
        self._reply_bell = link.reply_bell
        self._requests = control.request_mailbox(link.control, link.polled)
        self._replies = control.reply_mailbox(link.control, link.polled)
        self._inputs = SendingFrames(arena_over(link.request_fd, link.request_memory), link.request_memory)
        self._frames = ReceivingFrames(link.reply_memory)
        self._outputs = OutputReader(SharedFile(link.reply_fd, link.reply_memory))
        self._introduced: set[int] = set()  # files that the worker has
        self._gone_files: deque[int] = deque()  # and those of them that are closed here
        self._lock = threading.Lock()  # around requests: mailbox, bell, frames, calls, line
        self._wait = make_wait(self._replies, link.reply_bell, launch.wait)
        self._line = Line()
        self._calls: dict[int, Call] = {}
        self._late_cancels: deque[Call] = deque()  # which could not be sent at once
        self._last_request = 0
        self._loaded: set[int] = set()  # models
        self._closed_models: set[int] = set()  # which takes no more calls; unloaded once they are loaded
        self.state = after(WORKER, self.state, "welcomed")
        self._receiver = ReceiverRole(self._receive, WAIT_SLICE_S)
        if self._death is not None:  # between the handshake and here
            self._receiver.poke()

    # ---- requests

    def load(self, model: int, path: str, visible_gpu: int | None, load_custom_ops: bool, validate: bool) -> Call:
        """Send Load. Its reply is Loaded or Failed."""
        with self._lock:
            if self.ended is not None:
                return self._never_sent(model, None)
            return self._send(model, m.Load, 0, path, visible_gpu, load_custom_ops, validate)

    def infer(
        self,
        model: int,
        request: Request,
        attempt: int,
        turn: Turn | None = None,
        finisher: Finisher | None = None,
    ) -> Call:
        """Place the inputs and send Infer. Its reply is Result (then ``outputs`` is set) or Failed.

        ``turn`` is the caller's place in line, if it has one, and is used up by sending. Raises QueueFull where there
        is no room or others wait for it, SharedMemoryExhausted, SpecError (what cannot cross).
        """
        try:
            with self._lock:
                if self.ended is not None:
                    return self._never_sent(model, finisher)
                if model in self._closed_models:
                    raise HandleClosed("the model was closed: load it again")
                try:
                    call = self._infer(model, request, attempt, turn, finisher)
                except QueueFull:
                    if turn is not None:
                        turn.done = not self._calls  # with nothing in flight, nothing tells when to try again
                    raise
                if turn is not None:
                    self._leave_line(turn)
                return call
        except Exception:  # undone above, as far as anything was done
            raise
        except BaseException:  # an interrupt: neither what was sent nor what is lent is known any more
            self._give_up(None, _INTERRUPTED)
            raise

    def _infer(
        self, model: int, request: Request, attempt: int, turn: Turn | None, finisher: Finisher | None
    ) -> Call:
        """With the lock held."""
        if self._gone_files:
            self._close_files()
        if (self._line.turns and self._line.blocks(turn)) or not self._room():
            raise QueueFull(f"{IN_FLIGHT_LIMIT} requests are in flight: wait for some of them")
        frame = self._inputs.acquire(request.signature, request.inputs)
        if frame.file_ids and not frame.file_ids <= self._introduced:
            self._introduce(frame)
        repeated = frame.tensors is None and request.requested is None and not self._inputs.retired
        if repeated and len(self._outputs.released) <= 1:
            call = self._send_repeated(model, attempt, finisher, frame.id)
        else:
            try:
                body = (frame.id, frame.tensors, request.requested)
                call = self._send(model, m.Infer, attempt, *body, finisher=finisher)
            except Exception:  # undo, then re-raise
                self._inputs.release((frame.id,))
                raise
            frame.tensors = None
        call.inputs = frame.views
        return call

    def infer_at_once(self, model: int, signature: Signature, inputs: Any) -> dict[str, np.ndarray] | Call | None:
        """A call like the last one, from the check of its ``inputs`` to its outputs, for who is alone here.

        Gives the outputs; or the call, sent and not answered yet; or None: `infer` can do what this cannot.
        """
        receiver = self._receiver
        assert receiver is not None
        if self._calls:
            return None
        try:
            with self._lock:
                if self._calls or self.ended is not None:
                    return None
                return receiver.run(self._infer_at_once, model, signature, inputs)
        finally:
            if self._death is not None:  # as in `wait`
                receiver.poke()

    def _infer_at_once(self, model: int, signature: Signature, inputs: Any) -> dict[str, np.ndarray] | Call | None:
        """With the lock held, in the receiver's role, and nothing in flight."""
        frames, released = self._inputs, self._outputs.released
        frame = frames.reusable(signature)
        if frame is None or frames.retired or len(released) > 1 or self._line.turns or self._gone_files:
            return None
        if model in self._closed_models or self._requests.full:
            return None
        number, giving_back = self._last_request + 1, released[0] if released else 0
        words = (self.incarnation, model, number, 0, giving_back, frame.id)
        bell, replies, seconds = self._request_bell, self._replies, self._wait.spin_s
        try:
            answer = self._requests.exchange(inputs, frame.layout, bell, replies, seconds, *words)
            if answer is None:
                return None
            self._last_request = number
            if giving_back:
                released.popleft()
            outputs = self._frames.find(answer)
            if outputs is not None:
                replies.taken()
                self.blameless = True
                return self._outputs.read(outputs)
            self._wait.spun()
            frames.lend(frame)
            self._calls[number] = call = Call(model, number, _RUNNING, None)
            call.inputs = frame.views
            return call
        except BaseException:  # an interrupt, or no memory for the outputs
            self._give_up(None, _INTERRUPTED)
            raise

    @property
    def in_flight(self) -> int:
        """Requests that are not answered."""
        return len(self._calls)

    def _room(self) -> bool:
        """With the lock held."""
        return len(self._calls) < IN_FLIGHT_LIMIT and not self._requests.full

    @property
    def _spare(self) -> bool:
        """Whether there is room for what is not answered. That must not fill the mailbox: who has no room waits for a
        reply."""
        return self._requests.untaken < IN_FLIGHT_LIMIT

    def join_line(self, owner: Awaited | None = None) -> Turn:
        """A place in line: ``wait`` for it (or for ``owner``), send with it, ``leave_line`` in any case."""
        with self._lock:
            turn = self._line.join(owner)
            if self.ended is not None:
                turn.done = True
            elif self._room():
                self._line.call_first()
            return turn

    def leave_line(self, turn: Turn) -> None:
        """Give up a place in line, if it was not used."""
        with self._lock:
            self._leave_line(turn)

    def _leave_line(self, turn: Turn) -> None:
        self._line.leave(turn)
        if self._room():
            self._call_first()

    def _call_first(self) -> None:
        first = self._line.call_first()
        if first is not None:
            self._tell(first)

    def _tell(self, turn: Turn) -> None:
        if self._receiver is not None:
            self._receiver.completed(turn.owner or turn)

    def announce(self, name: str, array: np.ndarray) -> None:
        """Tell the worker of an input in shared memory before the call that it is for. May be left out."""
        place = placed(array)
        with self._lock:
            if place is None or self.ended is not None or not self._spare:
                return
            if self._introduce_file(place.owner.file):
                where = (m.IN_FILE, place.offset, array.nbytes, place.owner.file.id)
                tensor = m.Tensor(name, dtype_name(array.dtype), array.shape, where)
                self._say(m.Announce, (tensor,))

    def trim(self) -> None:
        """Give unused memory of both directions back to the system."""
        with self._lock:
            if self.ended is None and self._spare:
                self._inputs.trim()
                self._say(m.Trim, released=drain(self._outputs.released), retired=drain(self._inputs.retired))

    def _introduce(self, frame: SentFrame) -> None:
        """Send the descriptors of the files that a frame's tensors lie in."""
        for place, _ in frame.lent:
            if not self._introduce_file(place.owner.file):
                self._inputs.release((frame.id,))
                raise QueueFull("the worker has not taken the files of earlier calls yet: wait for some of them")

    def _introduce_file(self, file: SharedFile) -> bool:
        if file.id not in self._introduced:
            message = m.File(m.PROTOCOL_VERSION, file.id, file.mapping.size, file.mapping.writable)
            if not self.process.send(message, (file.fd,)):
                return False
            self._introduced.add(file.id)
            weakref.finalize(file, self._gone_files.append, file.id).atexit = False
        return True

    def _close_files(self) -> None:
        while self._gone_files and self._spare:
            file = self._gone_files.popleft()
            self._introduced.discard(file)
            self._inputs.forget_file(file)
            self._say(m.CloseFile, file, retired=drain(self._inputs.retired))

    def cancel(self, call: Call) -> None:
        """Ask the worker not to start ``call``; it may be too late. Its reply is then dropped."""
        with self._lock:
            self._cancel(call)

    def cancel_unless_locked(self, call: Call) -> None:
        """The same for the garbage collector, which may have come in the middle of a send; then it is done later."""
        if self._lock.acquire(blocking=False):
            try:
                self._cancel(call)
            finally:
                self._lock.release()
        else:
            self._late_cancels.append(call)

    def _cancel(self, call: Call) -> None:
        """With the lock held."""
        if self.ended is not None or call.state != "running":
            return
        if self._requests.full:
            self._late_cancels.append(call)
        else:
            call.state = step(REQUEST, call.state, m.Cancel)
            self._put(m.Cancel(self.incarnation, call.model, call.request, 0, (), ()))

    def unload(self, model: int, wait_s: float) -> None:
        """Send no more calls of ``model`` and have the worker drop it, now or when its load is done.

        Waits at most ``wait_s`` seconds: a worker that is busy with another model does it when it can.
        """
        with self._lock:
            self._closed_models.add(model)
            call = self._unload_if_loaded(model)
        if call is not None and wait_s > 0:
            self.wait(call, time.monotonic() + wait_s)

    def _unload_if_loaded(self, model: int) -> Call | None:
        """With the lock held."""
        if model not in self._loaded or self.ended is not None or self._requests.full:
            return None
        self._loaded.discard(model)
        return self._send(model, m.Unload, 0)

    def _send(self, model: int, kind: Any, attempt: int, *body: Any, finisher: Finisher | None = None) -> Call:
        self._last_request += 1
        call = Call(model, self._last_request, REQUEST["new"][kind], finisher)
        released = drain(self._outputs.released)
        retired = drain(self._inputs.retired)
        self._calls[call.request] = call
        try:
            self._put(kind(self.incarnation, model, call.request, attempt, released, retired, *body))
        except Exception:  # undo, then re-raise
            self._outputs.released.extend(released)
            self._inputs.retired.extend(retired)
            del self._calls[call.request]
            raise
        return call

    def _send_repeated(self, model: int, attempt: int, finisher: Finisher | None, frame: int) -> Call:
        """An Infer that says nothing but numbers. With the lock held; the mailbox is not full."""
        self._last_request = number = self._last_request + 1
        self._calls[number] = call = Call(model, number, _RUNNING, finisher)
        released = self._outputs.released.popleft() if self._outputs.released else 0
        self._requests.send_repeated(self._request_bell, self.incarnation, model, number, attempt, released, frame)
        return call

    def _never_sent(self, model: int, finisher: Finisher | None) -> Call:
        """A call that is done without a reply: the worker ended before."""
        self._last_request += 1
        call = Call(model, self._last_request, "done", finisher)
        call.done = True
        if finisher is not None:
            finisher.finished(call)
        return call

    def _say(self, kind: Any, *body: Any, released: tuple[int, ...] = (), retired: tuple[int, ...] = ()) -> None:
        """Send what concerns no request and is not answered. With the lock held."""
        self._put(kind(self.incarnation, 0, 0, 0, released, retired, *body))

    def _put(self, message: m.Message) -> None:
        data = encode(message)
        try:
            if len(data) <= control.INLINE_LIMIT:
                self._requests.put(data)
            else:
                self._requests.put_elsewhere(self._inputs.put_bytes(data))
        except ProtocolViolation as violation:
            self._give_up(violation, _BROKE_PROTOCOL)
            raise
        self._requests.wake(self._request_bell)

    # ---- replies

    def wait(self, awaited: Awaited, deadline: float | None) -> bool:
        """Block until it is done (a call, most often): True, or False after ``deadline`` (time.monotonic)."""
        receiver = self._receiver
        assert receiver is not None
        done = receiver.wait(awaited, deadline)
        if not done or self._death is not None:  # arrived unseen, or it died when the last receiver had just left
            receiver.poke()
        return done or awaited.done

    def wait_answered(self, deadline: float | None) -> bool:
        """Until no request is in flight: True, or False after ``deadline``."""
        return self.wait(_Answered(self._calls), deadline)

    def _receive(self, seconds: float) -> None:
        """Wait for a reply and complete what has been answered. By the one thread that has the receiver's role."""
        if seconds > 0 and not self._wait.catch():
            self._wait.sleep(seconds)
        dead = self._death is not None  # asked before the mailbox is: what it said before its death counts
        try:
            while True:
                reply = self._replies.take()
                if reply is None:
                    break
                if type(reply) is control.Elsewhere:
                    self._outputs.released.append(reply.frame)
                    reply = self._frames.take_bytes(reply)
                self._complete(decode(reply) if type(reply) is bytes else reply)
        except ProtocolViolation as violation:
            # It is kept as the cause of the restart, and the frames of its traceback would keep the worker's memory.
            self._give_up(violation.with_traceback(None), _BROKE_PROTOCOL)
        except BaseException:  # an interrupt or no memory: a reply was lost, perhaps another thread's
            self._give_up(None, _INTERRUPTED)
            raise
        if dead:
            self._settle()

    def _complete(self, reply: Any) -> None:
        if type(reply) not in m.REPLIES:
            raise ProtocolViolation(f"the worker sent {reply}, which is no reply")
        call = self._calls.get(reply.request)
        if reply.incarnation != self.incarnation or call is None or call.model != reply.model:
            raise ProtocolViolation(f"nobody waits for {reply}")
        after_it = step(REQUEST, call.state, type(reply))
        if reply.retired:
            self._frames.retire(reply.retired)
        if type(reply) is m.Result:
            call.outputs = self._outputs.read(self._frames.frame(reply.frame, reply.tensors))
            self.blameless = True
        elif type(reply) is m.Failed and call.state != "loading":
            self.blameless = True
        call.reply = reply
        with self._lock:
            if reply.released:
                self._inputs.release(reply.released)
            self._finish(call, after_it)
            if type(reply) is m.Loaded:
                self._loaded.add(call.model)
            if self._closed_models:
                for model in self._closed_models & self._loaded:
                    self._unload_if_loaded(model)

    def _finish(self, call: Call, state: str) -> None:
        """With the lock held."""
        del self._calls[call.request]
        call.state = state
        call.done = True
        if self._receiver is not None:
            self._receiver.completed(call)
        if call.finisher is not None:
            call.finisher.finished(call)
            if self._receiver is not None:
                self._receiver.completed(call.finisher)
        if self._late_cancels:
            for _ in range(len(self._late_cancels)):
                self._cancel(self._late_cancels.popleft())
        if self._line.turns and self._room():
            self._call_first()

    # ---- the end

    def _give_up(self, violation: ProtocolViolation | None, because: str) -> None:
        """Take no more requests, and have the worker killed; calls in flight are settled when it is dead."""
        self.ended = self.ended or Ended(None, violation, self.stats().request)
        if violation is None:
            self.end_for_caller(because)
        else:
            self.process.kill(because)

    def end_for_caller(self, because: str) -> None:
        """Have the worker killed, which may be well."""
        self.blameless = True
        self.process.kill(because)

    def _on_death(self, death: Death) -> None:
        """In the supervisor's thread."""
        self._death = death
        if self._receiver is not None:
            self._reply_bell.ring()  # whoever receives wakes up and settles; if nobody does, we do
            self._receiver.poke()
        # In the next round of the loop, which begins by letting go of the GIL: a replacement takes it for
        # milliseconds, and callers want to hear of the death first.
        self._loop.post(self._tell_listeners)

    def _tell_listeners(self) -> None:
        listeners, self.on_death = self.on_death, []  # a cycle less
        for listener in listeners:
            listener(self)

    def _settle(self) -> None:
        """The worker is gone and its last words have been read: nothing more will come."""
        with self._lock:
            if self.state == "dead":
                return
            self.state = after(WORKER, self.state, "died")
            violation = self.ended.violation if self.ended is not None else None
            request = self.stats().request
            self.ended = Ended(self._death, violation, request if request in self._calls else 0)
            for call in list(self._calls.values()):
                self._finish(call, "done")
            self._inputs.end()
            for turn in self._line.dissolve():
                self._tell(turn)
            self.process.inherited.clear()
            os.close(self._request_fd)
            self._request_bell.close()
            self._reply_bell.close()
            # Nobody asks for these any more; what outputs still refer to stays. Not left to the garbage collector,
            # which would find this connection in a cycle whenever it likes.
            del self._inputs, self._frames, self._outputs

    @property
    def live(self) -> bool:
        """Whether it takes requests. Whoever receives may not have settled a death that is known already."""
        return self.ended is None and self._death is None

    @property
    def death(self) -> Death | None:
        """How the process ended, once it has."""
        return self._death

    def stats(self) -> control.Stats:
        """What the worker is doing and has done."""
        return control.read_stats(self._control)

    def signs(self) -> Signs:
        """What can be seen of the worker. Takes up to _HEARS_S, and only if it is deaf."""
        stats, request = self.stats(), self.busy_with()
        letter = self.process.kernel_state
        step = control.STEPS[stats.step] if stats.step < len(control.STEPS) and request else "waiting"
        dead = not self.live or letter in ("Z", "X")
        stopped = letter in ("T", "t")
        seconds = max(time.monotonic_ns() - stats.since, 0) / 1e9
        hears = dead or stopped or step != "waiting" or self._hears()
        return Signs(self.process.pid, dead, stopped, step, seconds, request, hears)

    def _hears(self) -> bool:
        """Whether a worker that waits takes a message: one that cancels nothing."""
        with self._lock:
            if self.ended is None and not self._requests.untaken:
                self._say(m.Cancel)
            number = self._requests.written
        until = time.monotonic() + _HEARS_S
        while self._requests.written - self._requests.untaken < number and not self.busy_with():
            if time.monotonic() > until:
                return not self.live  # it has died meanwhile, and is not deaf
            time.sleep(_LOOK_S)  # nobody rings when a message is taken
        return True

    def busy_with(self) -> int:
        """The request that the worker is busy with, 0 if it waits for one."""
        if self._receiver is not None:
            self._receiver.poke()  # the page names the last request until the worker goes to sleep
        request = self.stats().request
        return request if request in self._calls else 0

    def was_busy_with(self) -> int:
        """The same after its death, also while whoever receives has not settled that yet."""
        ended = self.ended
        return self.busy_with() if ended is None or ended.death is None else ended.running

    def close(self, grace_s: float) -> None:
        """End the worker: Shutdown and ``grace_s`` seconds if it is idle, SIGKILL otherwise. Wait for its end."""
        idle = False
        if self._calls and self._receiver is not None:
            self._receiver.poke()  # an answer that nobody waited for, of an unloaded model
        with self._lock:
            if self.state == "ready":
                self.state = after(WORKER, self.state, "closed")
                idle = self.ended is None and not self._calls and not self._requests.full
                if idle:
                    self._say(m.Shutdown)
        self.process.end(grace_s if idle else 0.0, "its model was closed")
