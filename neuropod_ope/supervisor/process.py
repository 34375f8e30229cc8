"""The only module that starts and ends worker processes.

Expects an interpreter and the environment variables for it. Gives a process in a session and process group of
its own, started by path with ``-I``, with a socket, pipes for its output and a lifeline.
Never: a shell, fork without exec, a signal handler, ``waitpid`` for anybody else's child.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import subprocess
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import neuropod_worker
from neuropod_ope.errors import LoadError
from neuropod_ope.supervisor.diagnosis import STACKS_BEGIN, Death, stacks_in
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_ope.supervisor.memory_group import memory_group
from neuropod_ope.supervisor.output import OutputPipe
from neuropod_ope.supervisor.processors import bound_to
from neuropod_worker.shm import channel
from neuropod_worker.wire.messages import Message

_WORKER_PROGRAM = Path(neuropod_worker.__file__).parent / "__main__.py"
_STDERR_LINES = 2000  # remembered: the stacks of many threads are long
_EXITING_S = 0.5  # between the end of a worker's socket and its own, while the interpreter shuts down
_TOLD_LINES = 50
_LAST_WORDS_S = 1.0  # for a worker that was asked for its stacks to write them and die
_KILLED_S = 10.0  # for the kernel to end a process that got SIGKILL; longer only where it hangs in the kernel

_log = logging.getLogger("neuropod_ope.supervisor")

# Processes of this process, also those about to be started: a child that the application forks in that moment must
# close its copies of our ends. They would keep the worker alive when we die, and hide its death from us.
_all: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _forget_in_forked_child() -> None:
    for process in list(_all):
        process.forget()


os.register_at_fork(after_in_child=_forget_in_forked_child)


class WorkerProcess:
    """One worker process from its start to its end.

    ``on_death`` is called once, in the supervisor's thread, when the process has ended and was reaped.
    ``portable`` does without a pidfd: then the end of the socket is what tells of the death. ``affinity``: the
    processors that it is bound to.
    """

    def __init__(
        self,
        python: Path,
        support: Sequence[Path],
        environ: Mapping[str, str],
        loop: SupervisorLoop,
        logger: logging.Logger,
        on_death: Callable[[Death], None],
        portable: bool,
        affinity: frozenset[int] | None,
    ) -> None:
        self._loop = loop
        self.started_at = time.monotonic()
        self._on_death = on_death
        self._ended = threading.Event()
        self._lock = threading.Lock()  # around signals and the reaping, so that no signal hits a reused pid
        self._reaped = False
        self._over = False
        self._forgotten = False
        self._handshaking = (
            True  # somebody reads the socket, also what a worker said before it died: not ours to close
        )
        self._socket_watched = False
        self._killed_because: str | None = None
        self.death: Death | None = None
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._popen: subprocess.Popen[bytes] | None = None
        self.inherited: list[int] = []  # more descriptors that a forked child must close
        self._descriptors: list[int] = []
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as child_ends:

            def output_pipe() -> tuple[int, int]:
                ours, theirs = os.pipe2(os.O_CLOEXEC)
                undo.callback(os.close, ours)
                child_ends.callback(os.close, theirs)
                return ours, theirs

            self.socket, their_socket = socket.socketpair()
            undo.callback(self.socket.close)
            child_ends.callback(their_socket.close)
            self.lifeline, lifeline_held = os.pipe2(os.O_CLOEXEC)
            undo.callback(os.close, self.lifeline)
            undo.callback(os.close, lifeline_held)
            stdout, their_stdout = output_pipe()
            stderr, their_stderr = output_pipe()
            self._descriptors += [lifeline_held, stdout, stderr]
            _all.add(self)
            command = [str(python), "-I", str(_WORKER_PROGRAM), "serve", str(their_socket.fileno())]
            try:
                with bound_to(affinity):
                    self._popen = subprocess.Popen(
                        command + [str(folder) for folder in support],
                        stdin=subprocess.DEVNULL,
                        stdout=their_stdout,
                        stderr=their_stderr,
                        pass_fds=(their_socket.fileno(),),
                        env=dict(environ),
                        start_new_session=True,
                    )
            except OSError as error:
                raise LoadError(f"cannot start a worker with {python}: {error}") from None
            self.pid = self._popen.pid
            undo.callback(self._end_unsupervised)
            self._memory = memory_group(self.pid)
            self._memory_kills = self._memory and self._memory.kills()
            self._pidfd = None if portable else os.pidfd_open(self.pid)
            if self._pidfd is not None:
                self._descriptors.append(self._pidfd)
                undo.callback(os.close, self._pidfd)
            self._outputs = (OutputPipe(stdout, logger.info), OutputPipe(stderr, self._stderr_line(logger)))
            # Before it is watched: one that ends at once may be reaped, and taken out again, before `call` returns.
            loop.processes.add(self)
            undo.callback(self._unlist)
            loop.call(self._watch)
            undo.pop_all()

    def _unlist(self) -> None:
        self._loop.processes.discard(self)
        self._loop.post(lambda: None)  # being closed, it may wait for this one alone

    def _end_unsupervised(self) -> None:
        """Undo a start that nobody watches yet."""
        assert self._popen is not None
        self._forgotten = True
        self._kill_group()
        self._popen.wait()

    def _stderr_line(self, logger: logging.Logger) -> Callable[[str], None]:
        def on_line(line: str) -> None:
            self._stderr.append(line)
            # That reads like the end of the application, where the record is shown without its logger's name.
            logger.warning(f"{logger.name} (pid {self.pid}): {line}" if line.startswith(STACKS_BEGIN) else line)

        return on_line

    # ---- in the supervisor's thread

    def _watch(self) -> None:
        for output in self._outputs:
            self._loop.watch(output.fd, self._output_reader(output))
        if self._pidfd is not None:
            self._loop.watch(self._pidfd, self._reap)

    def _output_reader(self, output: OutputPipe) -> Callable[[], None]:
        def read() -> None:
            if not output.read():
                self._loop.unwatch(output.fd)  # closed by the model: readable for ever

        return read

    def _watch_socket(self) -> None:
        if self.death is None and not self._socket_watched:
            self._socket_watched = True
            self._loop.watch(self.socket.fileno(), self._socket_ended)

    def _socket_ended(self) -> None:
        """A worker without its socket is of no use, whatever it is still doing; most often it is just exiting."""
        self._loop.unwatch(self.socket.fileno())
        if self._pidfd is not None:
            self._loop.call_later(_EXITING_S, self._kill_without_socket)
        else:
            with self._lock:
                self._kill_group()  # without a reason: most often it is gone already
            self._reap()

    def _kill_without_socket(self) -> None:
        self.kill("its socket was closed")

    def _reap(self) -> None:
        """The process has ended, or got SIGKILL."""
        for output in self._outputs:
            self._loop.unwatch(output.fd)
        with self._lock:
            self._kill_group()  # what the model forked; the unreaped leader keeps the group's number ours
            returncode: int | None = None
            try:
                _, status = os.waitpid(self.pid, 0)
                returncode = os.waitstatus_to_exitcode(status)
            except ChildProcessError:
                pass  # the host ignores SIGCHLD or reaped our child; its status is lost
            self._reaped = True
        for output in self._outputs:
            output.read_rest()
        assert self._popen is not None
        self._popen.returncode = 0 if returncode is None else returncode
        because = self._killed_because if returncode in (-signal.SIGKILL, -signal.SIGABRT) else None
        lines = tuple(self._stderr)
        memory = self._out_of_memory(returncode)
        self.death = Death(self.pid, returncode, lines[-_TOLD_LINES:], because, *memory, stacks_in(lines))
        on_death, self._on_death = self._on_death, lambda death: None  # a cycle less
        try:
            on_death(self.death)  # callers wait for this, and for nothing below
        finally:
            self._close_descriptors()
            self._loop.processes.discard(self)
            self._ended.set()

    def _close_descriptors(self) -> None:
        for fd in (*self._descriptors, self.socket.fileno()):
            self._loop.unwatch(fd)
        descriptors, self._descriptors = self._descriptors, []
        for fd in descriptors:
            os.close(fd)
        with self._lock:
            self._over = True
            if not self._handshaking:
                self.socket.close()

    def _out_of_memory(self, returncode: int | None) -> tuple[bool | None, int | None]:
        """Whether the kernel killed it for that, and the limit. Its group outlives it: we are in there, too."""
        if returncode not in (None, -signal.SIGKILL):
            return False, None
        if self._memory is None or self._memory_kills is None:
            return None, None
        killed = (self._memory.kills() or 0) > self._memory_kills
        return killed, self._memory.limit() if killed else None

    # ---- from any thread

    def watch_socket(self) -> None:
        """From now on (the handshake is over, or has failed) the end of the socket means death."""
        with self._lock:
            self._handshaking = False
            if self._over:
                self.socket.close()
        self._loop.call(self._watch_socket)

    def send(self, message: Message, descriptors: tuple[int, ...]) -> bool:
        """Say something on the socket, after the handshake. False if the worker does not take what came before; True
        also if it is dead, which others will notice."""
        with self._lock:
            if self._reaped or self._forgotten:
                return True
            try:
                channel.send(self.socket, message, descriptors, wait=False)
            except BlockingIOError:
                return False
            except channel.PeerGone:
                pass
            return True

    @property
    def kernel_state(self) -> str:
        """The kernel's letter for it: "T" if a signal has stopped it, "Z" if it has ended; empty outside Linux, which
        alone says it."""
        with self._lock:
            if self._reaped:
                return "Z"
            try:
                with open(f"/proc/{self.pid}/stat", "rb") as file:
                    # The name before the letter may hold anything.
                    return file.read().rpartition(b")")[2].split()[0].decode("ascii")
            except FileNotFoundError:
                return "" if not os.path.exists("/proc/self/stat") else "Z"

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # gone already (macOS says EPERM for a group of zombies)

    def kill(self, because: str) -> None:
        """SIGKILL to the worker and all that it forked. The death is reported as always, with the reason."""
        with self._lock:
            if not self._reaped and not self._forgotten:
                self._killed_because = self._killed_because or because
                self._kill_group()

    def interrogate(self, because: str) -> Death | None:
        """Have it write the stacks of all its threads and die, or kill it: SIGABRT, which reaches Python's
        faulthandler also in a model that is stuck in C, then SIGKILL. Its death, unless the kernel does not end it in
        time."""
        with self._lock:
            if not self._reaped and not self._forgotten:
                self._killed_because = self._killed_because or because
                _leave_no_core_dump(self.pid)
                with contextlib.suppress(ProcessLookupError):  # another one reaped it
                    os.kill(self.pid, signal.SIGABRT)
                    os.kill(self.pid, signal.SIGCONT)  # if it is stopped
        if not self._ended.wait(_LAST_WORDS_S):
            self.kill(because)
            self._ended.wait(_LAST_WORDS_S)
        return self.death

    def end(self, grace_s: float, because: str) -> None:
        """Wait ``grace_s`` seconds for it to end by itself, then kill it. Returns when it was reaped; a process that
        the kernel does not end is logged and left to it."""
        if self._forgotten or self._ended.wait(grace_s):
            return
        self.kill(because)
        if not self._ended.wait(_KILLED_S):
            _log.error("worker %d got SIGKILL and has not ended after %s s", self.pid, _KILLED_S)

    def forget(self) -> None:
        """In a forked child of the application: this process is the parent's."""
        self._forgotten = True
        if self._popen is not None:
            self._popen.returncode = 0  # not our child, so nothing to warn of
        for fd in (*self._descriptors, *self.inherited):
            os.close(fd)
        self._descriptors = []
        self.inherited = []
        self.socket.close()


def _leave_no_core_dump(pid: int) -> None:
    """One for each timeout would fill a disk, and writing it takes longer than the caller waits."""
    prlimit = getattr(resource, "prlimit", None)  # Linux
    if prlimit is not None:
        with contextlib.suppress(OSError):  # it is gone
            _, hard = prlimit(pid, resource.RLIMIT_CORE)
            # 1, not 0: where core dumps go to a program, that is what the kernel takes for none.
            prlimit(pid, resource.RLIMIT_CORE, (min(hard, 1) if hard != resource.RLIM_INFINITY else 1, hard))
