"""From a way to start a worker to a running one that shares memory with us.

Expects a `Launch`. Gives a `Link`: the process, the shared memory and the doorbells. Raises a clear error and
leaves neither a process nor a descriptor behind when the worker does not come up.
"""

from __future__ import annotations

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
from neuropod_worker.shm.doorbell import PipeDoorbell, SemaphoreDoorbell
from neuropod_worker.shm.libc import libc_name
from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.wire import messages as m

ARENA_SIZE = 2**36  # bytes of address space for each direction; memory is taken as it is needed
_EXIT_SECONDS = 1.0  # for a worker that closed its socket to finish exiting by itself


class Launch(NamedTuple):
    """How to start a worker. ``segment`` is a key of SEGMENT_KINDS; ``portable`` chooses the twins of what only
    Linux has (doorbell, lifeline, death watch)."""

    python: Path
    support: tuple[Path, ...]
    environ: dict[str, str]
    segment: str = "posix"
    portable: bool = False


class Link(NamedTuple):
    """A worker that said Welcome."""

    process: WorkerProcess
    control: Mapping
    request_memory: Mapping
    request_fd: int
    reply_memory: Mapping
    request_bell: SemaphoreDoorbell | PipeDoorbell
    reply_bell: SemaphoreDoorbell | PipeDoorbell
    python_version: str


def connect(
    launch: Launch,
    incarnation: int,
    model: str,
    loop: SupervisorLoop,
    logger: logging.Logger,
    on_death: Callable[[Death], None],
    deadline: float | None,
) -> Link:
    """Start a worker and shake hands.

    Raises WorkerDied, InferTimeout after ``deadline``, LoadError if it refuses, SharedMemoryExhausted.
    """
    to_close: list[int] = []
    try:
        control_fd = _segment(launch.segment, control.CONTROL_SIZE, to_close)
        reserve_pages(control_fd, 0, control.CONTROL_SIZE)
        request_fd = _segment(launch.segment, ARENA_SIZE, to_close)
        reply_fd = _segment(launch.segment, ARENA_SIZE, to_close)
        control_memory = Mapping(control_fd, control.CONTROL_SIZE)
        control.write_header(control_memory)
        pipes: tuple[int, ...] = ()
        request_bell: SemaphoreDoorbell | PipeDoorbell
        reply_bell: SemaphoreDoorbell | PipeDoorbell
        if launch.portable:
            pipes = (*os.pipe(), *os.pipe())
            request_bell, reply_bell = PipeDoorbell(*pipes[:2]), PipeDoorbell(*pipes[2:])
        else:
            request_bell = SemaphoreDoorbell(control_memory, control.REQUEST_BELL, create=True)
            reply_bell = SemaphoreDoorbell(control_memory, control.REPLY_BELL, create=True)
        try:
            process = WorkerProcess(
                launch.python, launch.support, launch.environ, loop, logger, on_death, launch.portable
            )
            to_close.append(process.lifeline)
            hello = m.Hello(
                m.PROTOCOL_VERSION,
                incarnation,
                "pipe" if launch.portable else "semaphore",
                "thread" if launch.portable else "signal",
                ARENA_SIZE,
                libc_name(),
            )
            descriptors = (control_fd, request_fd, reply_fd, process.lifeline, *pipes)
            welcome = _greet(process, hello, descriptors, model, deadline)
        except BaseException:
            request_bell.close()
            reply_bell.close()
            raise
        process.watch_socket()
        link = Link(
            process,
            control_memory,
            Mapping(request_fd, ARENA_SIZE),
            request_fd,
            Mapping(reply_fd, ARENA_SIZE),
            request_bell,
            reply_bell,
            welcome.python_version,
        )
        to_close.remove(request_fd)
        return link
    except OSError as error:
        raise SharedMemoryExhausted(
            f"cannot make the shared memory of a worker: {error}; free space in /dev/shm or raise the limit "
            "of open files"
        ) from error
    finally:
        for fd in to_close:
            os.close(fd)


def _segment(kind: str, size: int, to_close: list[int]) -> int:
    fd = SEGMENT_KINDS[kind](size)
    to_close.append(fd)
    return fd


def _greet(
    process: WorkerProcess, hello: m.Hello, descriptors: tuple[int, ...], model: str, deadline: float | None
) -> m.Welcome:
    try:
        channel.send(process.socket, hello, descriptors)
        answer, _ = channel.receive(process.socket, deadline)
        process.socket.settimeout(None)
    except channel.PeerGone:
        process.end(_EXIT_SECONDS)
        if process.death is None:
            raise LoadError(f"the worker of model {model!r} closed its socket and does not end") from None
        raise worker_died(process.death, model, None, "it was starting") from None
    except TimeoutError:
        process.end(0.0)
        raise InferTimeout(f"the worker of model {model!r} did not start in time", model) from None
    except BaseException:
        process.end(0.0)
        raise
    if isinstance(answer, m.Refused):
        process.end(_EXIT_SECONDS)
        raise LoadError(f"the worker of model {model!r} refuses to serve: {answer.reason}")
    if not isinstance(answer, m.Welcome) or answer.incarnation != hello.incarnation:
        process.end(0.0)
        raise ProtocolViolation(f"the worker answered {answer}, expected Welcome")
    return answer
