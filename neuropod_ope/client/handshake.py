"""From a way to start a worker to a running one that shares memory with us.

Expects a `Launch`. Gives a `Link`: the process, the shared memory and the doorbells. Raises a clear error and
leaves neither a process nor a descriptor behind when the worker does not come up.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from neuropod_ope.client.segments import SEGMENT_KINDS
from neuropod_ope.errors import InferTimeout, LoadError, ProtocolViolation, SharedMemoryExhausted
from neuropod_ope.supervisor.diagnosis import Death, worker_died
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_ope.supervisor.process import WorkerProcess
from neuropod_worker.shm import channel, control
from neuropod_worker.shm.arena import reserve_pages
from neuropod_worker.shm.doorbell import PipeDoorbell, SemaphoreDoorbell, best_doorbell
from neuropod_worker.shm.libc import libc_name
from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.wire import messages as m
from neuropod_worker.wire.conversation import CONNECTION, step

_EXIT_S = 1.0  # for a worker that closed its socket to finish exiting by itself


class Launch(NamedTuple):
    """How to start a worker. ``segment`` is a key of SEGMENT_KINDS; ``portable`` chooses the twins of what only
    Linux has (doorbell, lifeline, death watch); ``wait`` is one of `shm.waiting.WAITS`, for both sides.
    ``arena_size``: bytes of address space for each direction; memory is taken as it is needed. ``affinity``: the
    processors to run on; None: any."""

    python: Path
    support: tuple[Path, ...]
    environ: dict[str, str]
    segment: str = "posix"
    portable: bool = False
    wait: str = "adaptive"
    arena_size: int = 2**36
    affinity: frozenset[int] | None = None


class Memory(NamedTuple):
    """What both sides share. ``doorbell`` is one of `shm.doorbell.DOORBELLS`, ``pipes`` are their descriptors, where
    they are pipes."""

    control: Mapping
    request_arena: Mapping
    reply_arena: Mapping
    descriptors: tuple[int, int, int]
    doorbell: str
    request_bell: SemaphoreDoorbell | PipeDoorbell
    reply_bell: SemaphoreDoorbell | PipeDoorbell
    pipes: tuple[int, ...]


class Link(NamedTuple):
    """A worker that said Welcome. ``request_fd`` stays open, for growing the request arena, ``reply_fd`` for other
    workers to read from; ``polled`` is that of the mailboxes."""

    process: WorkerProcess
    control: Mapping
    request_memory: Mapping
    request_fd: int
    reply_memory: Mapping
    reply_fd: int
    request_bell: SemaphoreDoorbell | PipeDoorbell
    reply_bell: SemaphoreDoorbell | PipeDoorbell
    polled: bool
    python_version: str


def connect(
    launch: Launch,
    incarnation: int,
    model: str,
    loop: SupervisorLoop,
    logger: logging.Logger,
    on_death: Callable[[Death], None],
    deadline: float | None,
    started: Callable[[WorkerProcess], None],
) -> Link:
    """Start a worker and shake hands. ``started`` is called with the process before the handshake.

    Raises WorkerDied, InferTimeout after ``deadline``, LoadError if it refuses, SharedMemoryExhausted.
    """
    with contextlib.ExitStack() as always, contextlib.ExitStack() as undo:
        memory = _make_memory(launch, always, undo)
        process = WorkerProcess(
            launch.python,
            launch.support,
            launch.environ,
            loop,
            logger,
            on_death,
            launch.portable,
            launch.affinity,
        )
        always.callback(os.close, process.lifeline)
        undo.callback(process.end, 0.0, "it did not start")
        undo.callback(process.watch_socket)
        process.inherited += (*memory.descriptors, process.lifeline, *memory.pipes)
        for closing in (always, undo):
            closing.callback(process.inherited.clear)
        started(process)
        hello = m.Hello(
            m.PROTOCOL_VERSION,
            incarnation,
            memory.doorbell,
            "thread" if launch.portable else "signal",
            launch.arena_size,
            libc_name(),
            launch.wait,
        )
        welcome = _greet(process, hello, (*memory.descriptors, process.lifeline, *memory.pipes), model, deadline)
        process.watch_socket()
        link = Link(
            process,
            memory.control,
            memory.request_arena,
            os.dup(memory.descriptors[1]),
            memory.reply_arena,
            os.dup(memory.descriptors[2]),
            memory.request_bell,
            memory.reply_bell,
            memory.doorbell == "semaphore" and control.ORDERED_STORES,
            welcome.python_version,
        )
        undo.pop_all()
        return link


def _make_memory(launch: Launch, always: contextlib.ExitStack, undo: contextlib.ExitStack) -> Memory:
    """Segments and doorbells. Descriptors are closed ``always``, once they were sent; doorbells to ``undo``."""

    def segment(size: int) -> int:
        fd = SEGMENT_KINDS[launch.segment](size)
        always.callback(os.close, fd)
        return fd

    try:
        control_fd = segment(control.CONTROL_SIZE)
        reserve_pages(control_fd, 0, control.CONTROL_SIZE)
        descriptors = (control_fd, segment(launch.arena_size), segment(launch.arena_size))
        page = Mapping(control_fd, control.CONTROL_SIZE)
        control.write_header(page)
        doorbell = "pipe" if launch.portable else best_doorbell()
        pipes: tuple[int, ...] = ()
        request_bell: SemaphoreDoorbell | PipeDoorbell
        reply_bell: SemaphoreDoorbell | PipeDoorbell
        if doorbell == "pipe":
            pipes = (*os.pipe(), *os.pipe())
            request_bell, reply_bell = PipeDoorbell(*pipes[:2]), PipeDoorbell(*pipes[2:])
        else:
            request_bell = SemaphoreDoorbell(page, control.REQUEST_BELL, create=True)
            reply_bell = SemaphoreDoorbell(page, control.REPLY_BELL, create=True)
        undo.callback(request_bell.close)
        undo.callback(reply_bell.close)
        request_arena, reply_arena = (Mapping(fd, launch.arena_size) for fd in descriptors[1:])
        return Memory(page, request_arena, reply_arena, descriptors, doorbell, request_bell, reply_bell, pipes)
    except OSError as error:
        raise SharedMemoryExhausted(
            f"cannot make the shared memory of a worker: {error}; free space in /dev/shm or raise the limit "
            "of open files"
        ) from error


def _greet(
    process: WorkerProcess, hello: m.Hello, descriptors: tuple[int, ...], model: str, deadline: float | None
) -> m.Welcome:
    state = step(CONNECTION, "started", m.Hello)
    try:
        channel.send(process.socket, hello, descriptors)
        answer, _ = channel.receive(process.socket, deadline)
        process.socket.settimeout(None)
    except channel.PeerGone:
        process.watch_socket()
        process.end(_EXIT_S, "it closed its socket")
        if process.death is None:
            raise LoadError(f"the worker of model {model!r} closed its socket and does not end") from None
        raise worker_died(process.death, model, None, "it was starting") from None
    except TimeoutError:
        death = process.interrogate("it did not start in time")
        stacks = "" if death is None else death.stacks
        message = f"the worker of model {model!r} did not start in time"
        raise InferTimeout(message, model, stacks=stacks) from None
    step(CONNECTION, state, type(answer))
    if isinstance(answer, m.Refused):
        raise LoadError(f"the worker of model {model!r} refuses to serve: {answer.reason}")
    if not isinstance(answer, m.Welcome) or answer.incarnation != hello.incarnation:
        raise ProtocolViolation(f"the worker answered {answer}, expected Welcome")
    return answer
