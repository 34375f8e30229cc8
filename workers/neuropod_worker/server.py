"""What a worker does with its messages.

One thread reads the mailbox and runs the models. Requests are served in the order in which they came; all that
has come is read before the next one starts, so that a request can be cancelled until then.
"""

import os
import platform
import socket
import sys
import time
from collections import OrderedDict, deque
from os import getpid
from typing import Any, Callable, Deque, Dict, Optional, Tuple

import numpy as np

from neuropod_worker import lifeline
from neuropod_worker.backends import LoadedModel, LoadOptions, import_backend, load_model
from neuropod_worker.backends.backend import load_error
from neuropod_worker.failure import Failure, failure_of
from neuropod_worker.outputs import place_outputs_with
from neuropod_worker.package import read_package
from neuropod_worker.problem.signatures import Signatures
from neuropod_worker.shm import channel, control
from neuropod_worker.shm.arena import PAGE, SharedMemoryExhausted, arena_over
from neuropod_worker.shm.doorbell import DOORBELLS, PipeDoorbell, SemaphoreDoorbell
from neuropod_worker.shm.frames import ReceivedFrame, ReceivingFrames, SendingFrames, drain
from neuropod_worker.shm.libc import libc_name
from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.shm.native import most_references
from neuropod_worker.shm.placed import SharedFile
from neuropod_worker.shm.waiting import IDLE_SLICE_S, WAITS, make_wait
from neuropod_worker.wire import messages as m
from neuropod_worker.wire.codec import ProtocolViolation, decode, encode
from neuropod_worker.wire.conversation import CONNECTION, MODEL, step

_RECHECKED_PER_CALL = 8  # kept frames that are looked at after each call

_Head = Tuple[int, ...]  # model, request and attempt of a message


def greet(sock: socket.socket) -> "Optional[Server]":
    """Take Hello, map what came with it and answer. None if this worker cannot serve this client."""
    try:
        hello, received = channel.receive(sock)
        state = step(CONNECTION, "started", type(hello))
        descriptors = dict(zip(channel.HELLO_DESCRIPTORS + channel.PIPE_DESCRIPTORS, received))
        if hello.doorbell not in DOORBELLS:
            raise ProtocolViolation("there is no doorbell {!r}, only {}".format(hello.doorbell, DOORBELLS))
        if hello.wait not in WAITS:
            raise ProtocolViolation("there is no wait {!r}, only {}".format(hello.wait, WAITS))
        if hello.doorbell == "semaphore" and hello.libc != libc_name():
            message = "the client runs on {}, the worker on {}: a semaphore is not the same there"
            raise ProtocolViolation(message.format(hello.libc, libc_name()))
        lifeline.arm(hello.lifeline, descriptors["lifeline"])
        server = Server(hello, descriptors)
    except ProtocolViolation as violation:
        channel.send(sock, m.Refused(m.PROTOCOL_VERSION, str(violation)))
        return None
    for name in ("control", "request arena"):
        os.close(descriptors[name])  # mapped; that of the reply arena stays open for growing
    step(CONNECTION, state, m.Welcome)
    python_version = platform.python_version()
    channel.send(sock, m.Welcome(m.PROTOCOL_VERSION, hello.incarnation, getpid(), python_version, np.__version__))
    # Open until this process ends: its end is how the client learns of our death. So no child may hold it open.
    server.socket = sock
    sock.set_inheritable(False)
    register_at_fork = getattr(os, "register_at_fork", None)  # Python 3.7
    if register_at_fork is not None:
        register_at_fork(after_in_child=sock.close)
    return server


monotonic_ns: Callable[[], int] = getattr(time, "monotonic_ns", lambda: int(time.monotonic() * 1e9))  # Python 3.7


# What a frame and the interpreter hold differs from version to version of Python, so it is counted.
_unkept = ReceivedFrame(0, (m.Tensor("", "uint8", (1,), (0, 0, 1)),), (np.zeros(1),))
_NOT_KEPT = most_references(_unkept.views)


class Server:
    """One incarnation of a worker."""

    def __init__(self, hello: m.Hello, descriptors: Dict[str, int]) -> None:
        control_segment = Mapping(descriptors["control"], control.CONTROL_SIZE)
        control.check_header(control_segment)
        reply_memory = Mapping(descriptors["reply arena"], hello.arena_size)
        self._incarnation = hello.incarnation
        self._pid = getpid()
        polled = hello.doorbell == "semaphore" and control.ORDERED_STORES
        self._requests = control.request_mailbox(control_segment, polled)
        self._replies = control.reply_mailbox(control_segment, polled)
        self._stats = control.StatsWriter(control_segment, self._pid)
        if hello.doorbell == "pipe":
            request_bell: Any = PipeDoorbell(descriptors["request bell read"], descriptors["request bell write"])
            self._reply_bell: Any = PipeDoorbell(descriptors["reply bell read"], descriptors["reply bell write"])
        else:
            request_bell = SemaphoreDoorbell(control_segment, control.REQUEST_BELL, create=False)
            self._reply_bell = SemaphoreDoorbell(control_segment, control.REPLY_BELL, create=False)
        self._wait = make_wait(self._requests, request_bell, hello.wait)
        self._files: Dict[int, Mapping] = {}
        self._inputs = ReceivingFrames(Mapping(descriptors["request arena"], hello.arena_size), self._find_file)
        reply_fd = descriptors["reply arena"]
        reply_file = SharedFile(reply_fd, reply_memory)
        self._outputs = SendingFrames(arena_over(reply_fd, reply_memory), reply_memory, reply_file)
        place_outputs_with(self._outputs.place)
        self._signatures = Signatures()  # of outputs
        self._models: Dict[int, LoadedModel] = {}
        self._states: Dict[int, str] = {}
        self._queue: Deque[Tuple[Any, int]] = deque()
        self._to_release: Deque[int] = deque()
        self._kept: "OrderedDict[int, ReceivedFrame]" = OrderedDict()
        self.socket: Optional[socket.socket] = None

    def serve(self) -> None:
        """Answer messages until Shutdown."""
        self._stats.show(control.WAITING, monotonic_ns())
        while True:
            if self._queue:
                if self._requests.arrived:
                    self._receive()
                    continue  # it may have cancelled all there was
            else:
                if not self._wait.catch():
                    self._stats.show(control.WAITING, monotonic_ns())
                    self._wait.sleep(IDLE_SLICE_S)
                if not self._answer_at_once():
                    self._receive()
                continue
            message, received = self._queue.popleft()
            if type(message) is m.Shutdown:
                return
            if type(message) is m.Infer:
                frame = self._inputs.frame(message.frame, message.tensors)
                self._infer(message[1:4], frame, message.requested, received, monotonic_ns())
            else:
                self._handle(message, received)

    def _receive(self) -> None:
        """Read all messages that are there; Cancel acts at once on what is queued."""
        while True:
            message = self._requests.take()
            if message is None:
                return
            if type(message) is control.Elsewhere:
                self._to_release.append(message.frame)
                message = self._inputs.take_bytes(message)
            if type(message) is bytes:
                message = decode(message)
            if message.incarnation != self._incarnation:
                raise ProtocolViolation("incarnation {}, expected {}".format(message.incarnation, self._incarnation))
            if message.released:
                self._outputs.release(message.released)
            if message.retired:
                self._inputs.retire(message.retired)
            if type(message) is m.Cancel:
                self._cancel(message.request)
            elif type(message) is m.CloseFile:
                self._files.pop(message.file, None)
            elif type(message) is m.Trim:
                self._outputs.trim()
            else:
                self._queue.append((message, monotonic_ns()))

    def _answer_at_once(self) -> bool:
        """Take and answer an Infer that says nothing but numbers, if it is alone.

        False: `_receive` what there is. It finds what is wrong, and what can be cancelled.
        """
        requests = self._requests
        words = requests.repeated()
        if words is None or words[0] != self._incarnation:
            return False
        requests.taken()
        released, frame_id = words[4:]
        if released:
            self._outputs.release((released,))
        now = monotonic_ns()
        if requests.arrived:
            self._queue.append((requests.revive(words), now))
            return False
        self._infer(words[1:4], self._inputs.frame(frame_id, None), None, now, now)
        return True

    def _find_file(self, file: int) -> Mapping:
        """The client introduces a file on the socket before the first message that refers to it."""
        while file not in self._files:
            assert self.socket is not None
            message, descriptors = channel.receive(self.socket)
            if type(message) is not m.File or len(descriptors) != 1:
                raise ProtocolViolation("expected a File for file {}, not {}".format(file, message))
            self._files[message.file] = Mapping(descriptors[0], message.size, message.writable)
            os.close(descriptors[0])
        return self._files[file]

    def _touch(self, message: m.Announce) -> None:
        """Have the kernel map an announced input, which is most of what the first look at it costs."""
        for tensor in message.tensors or ():
            self._inputs.view(tensor).reshape(-1).view(np.uint8)[::PAGE].any()

    def _cancel(self, request: int) -> None:
        for entry in self._queue:
            message, received = entry
            if message.request == request and type(message) is m.Infer:
                self._queue.remove(entry)
                if message.tensors is not None:
                    self._inputs.frame(message.frame, message.tensors)
                self._to_release.append(message.frame)
                self._reply(m.Cancelled, message[1:4], (received, 0, 0, monotonic_ns()))
                return

    def _handle(self, message: Any, received: int) -> None:
        started = monotonic_ns()
        try:
            if type(message) is m.Announce:
                self._touch(message)
            else:
                self._step(message.model, type(message))
                if type(message) is m.Load:
                    self._load(message, received, started)
                else:
                    self._models.pop(message.model).close()
                    self._reply(m.Unloaded, message[1:4], (received, started, started, monotonic_ns()))
                    self._step(message.model, m.Unloaded)
        except ProtocolViolation:
            raise
        except BaseException as error:  # the model's own code may raise anything; SystemExit is no order to us
            self._end_forked_child()
            self._fail(message[1:4], self._failure_of(error), received, started)
            self._step(message.model, m.Failed)

    def _step(self, model: int, kind: Any) -> None:
        self._states[model] = step(MODEL, self._states.get(model, "absent"), kind)

    def _load(self, message: m.Load, received: int, started: int) -> None:
        self._stats.show(control.LOADING, started, message.model, message.request)
        # The worker was started with one GPU visible, so that one is number 0 here.
        gpu = None if message.visible_gpu is None else 0
        options = LoadOptions(gpu, message.load_custom_ops, message.validate, own_process=True)
        try:
            package = read_package(message.path)
            import_backend(package)
            imported = monotonic_ns()
            model = load_model(package, options)
        except (Exception, SystemExit):  # ours already, or will be
            raise
        except BaseException as error:  # what an application's process lets through has no other way here
            raise load_error("the load was given up", error) from error
        self._end_forked_child()
        self._models[message.model] = model
        finished = monotonic_ns()
        times = (received, started, finished, monotonic_ns(), imported)
        self._reply(m.Loaded, message[1:4], (*times, model.platform_version))
        self._step(message.model, m.Loaded)

    def _infer(
        self, head: _Head, frame: ReceivedFrame, requested: Optional[Tuple[str, ...]], received: int, started: int
    ) -> None:
        model = self._models.get(head[0])
        if model is None:
            raise ProtocolViolation("an Infer for model {}, which is not loaded".format(head[0]))
        self._stats.show(control.RUNNING, started, head[0], head[1])
        inputs = outputs = sent = failure = None  # type: Any
        try:
            inputs, names = frame.arrays(), None if requested is None else model.selected(requested)
            outputs = model.call(inputs, names)
            self._end_forked_child()
            finished = monotonic_ns()
            sent = self._outputs.fill(model.signatures.latest, outputs) if names is None else None
            if sent is None:
                outputs, signature = model.checked(outputs, names)
                sent = self._outputs.acquire(signature or self._signatures.of(outputs), outputs)
        except ProtocolViolation:
            raise
        except BaseException as error:  # the model's own code may raise anything; SystemExit is no order to us
            self._end_forked_child()
            failure = self._failure_of(error)
        # Only now: an output may be a view of an input. What the model keeps is released when it lets go.
        inputs = outputs = None
        if self._kept:
            self._recheck_kept()
        self._release_input(frame)
        if failure is not None:
            self._fail(head, failure, received, started)
            return
        stats = self._stats
        stats.completed += 1
        stats.busy += finished - started
        times = (received, started, finished, monotonic_ns())
        if sent.tensors is None and not self._outputs.retired and len(self._to_release) <= 1:
            released = self._to_release.popleft() if self._to_release else 0
            self._replies.send_repeated(self._reply_bell, self._incarnation, *head, released, sent.id, *times)
        else:
            definition, sent.tensors = sent.tensors, None
            self._reply(m.Result, head, (*times, sent.id, definition))

    def _end_forked_child(self) -> None:
        """A child that the model's code forked and that came back here must not serve our mailbox, too."""
        if getpid() != self._pid:
            sys.stderr.write("neuropod_ope: a forked child came back from the model's code: end it with os._exit()\n")
            os._exit(1)

    def _failure_of(self, error: BaseException) -> Failure:
        failure = failure_of(error)
        # The traceback refers to the frames of the model's code, and these to the inputs.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        return failure

    def _fail(self, head: _Head, failure: Failure, received: int, started: int) -> None:
        now = monotonic_ns()
        self._stats.failed += 1
        self._reply(m.Failed, head, (received, started, now, now, *failure))

    def _reply(self, kind: Any, head: _Head, body: Tuple[Any, ...]) -> None:
        before = (self._incarnation, *head, drain(self._to_release))
        data = encode(kind(*before, drain(self._outputs.retired), *body))
        if len(data) <= control.INLINE_LIMIT:
            self._replies.put(data)
        else:
            self._put_elsewhere(data, before, body)
        self._replies.wake(self._reply_bell)

    def _put_elsewhere(self, data: bytes, before: Tuple[Any, ...], body: Tuple[Any, ...]) -> None:
        try:
            self._replies.put_elsewhere(self._outputs.put_bytes(data))
        except SharedMemoryExhausted as error:
            # There is no room for more than a slot: say that, in place of what did not fit.
            text = str(error)[: control.INLINE_LIMIT // 2]
            failure = (m.MEMORY, type(error).__name__, text, "", None)
            self._replies.put(encode(m.Failed(*(*before, (), *body[:4], *failure))))

    # ---- inputs that a model keeps beyond its call

    def _release_input(self, frame: ReceivedFrame) -> None:
        if most_references(frame.views) > _NOT_KEPT:
            self._kept[frame.id] = frame
        else:
            self._to_release.append(frame.id)

    def _recheck_kept(self) -> None:
        for _ in range(min(len(self._kept), _RECHECKED_PER_CALL)):
            _, frame = self._kept.popitem(last=False)
            self._release_input(frame)
