"""The only module that starts and ends worker processes.

Expects an interpreter and the environment variables for it. Gives a process in a session and process group of
its own, started by path with ``-I``, with a socket, pipes for its output and a lifeline.
Never: a shell, fork without exec, a signal handler, ``waitpid`` for anybody else's child.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import neuropod_worker
from neuropod_ope.errors import LoadError
from neuropod_ope.supervisor.diagnosis import Death
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_ope.supervisor.output import OutputPipe

_WORKER_PROGRAM = Path(neuropod_worker.__file__).parent / "__main__.py"
_STDERR_LINES = 50

_all: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _forget_in_forked_child() -> None:
    # A child of the application that kept our ends open would keep the workers alive when we die, and would
    # hide their death from us. The workers stay the parent's.
    for process in list(_all):
        process.forget()


os.register_at_fork(after_in_child=_forget_in_forked_child)


class WorkerProcess:
    """One worker process from its start to its end.

    ``on_death`` is called once, in the supervisor's thread, when the process has ended and was reaped.
    ``portable`` does without a pidfd: then the end of the socket is what tells of the death.
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
    ) -> None:
        self._loop = loop
        self._on_death = on_death
        self._ended = threading.Event()
        self._lock = threading.Lock()  # around signals and the reaping, so that no signal hits a reused pid
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self.death: Death | None = None
        self._forgotten = False
        self.inherited: list[int] = []  # descriptors of our owner that a forked child must close, too

        self.socket, theirs = socket.socketpair()
        self.lifeline, self._lifeline_held = os.pipe2(os.O_CLOEXEC)
        stdout, their_stdout = os.pipe2(os.O_CLOEXEC)
        stderr, their_stderr = os.pipe2(os.O_CLOEXEC)
        self._descriptors = [self._lifeline_held, stdout, stderr]
        command = [str(python), "-I", str(_WORKER_PROGRAM), "serve", str(theirs.fileno())]
        try:
            self._popen = subprocess.Popen(
                command + [str(folder) for folder in support],
                stdin=subprocess.DEVNULL,
                stdout=their_stdout,
                stderr=their_stderr,
                pass_fds=(theirs.fileno(),),
                env=dict(environ),
                start_new_session=True,
            )
        except OSError as error:
            for fd in (self.lifeline, *self._descriptors):
                os.close(fd)
            self.socket.close()
            raise LoadError(f"cannot start a worker with {python}: {error}") from None
        finally:
            theirs.close()
            os.close(their_stdout)
            os.close(their_stderr)
        self.pid = self._popen.pid
        _all.add(self)
        self._outputs = (
            OutputPipe(stdout, logger.info),
            OutputPipe(stderr, self._stderr_line(logger)),
        )
        for output in self._outputs:
            self._watch_output(output)
        self._pidfd: int | None = None
        if not portable:
            self._pidfd = os.pidfd_open(self.pid)
            self._descriptors.append(self._pidfd)
            loop.watch(self._pidfd, self._reap)

    def _stderr_line(self, logger: logging.Logger) -> Callable[[str], None]:
        def on_line(line: str) -> None:
            self._stderr.append(line)
            logger.warning(line)

        return on_line

    def _watch_output(self, output: OutputPipe) -> None:
        def read() -> None:
            if not output.read():
                self._loop.unwatch(output.fd)  # closed by the model: readable for ever

        self._loop.watch(output.fd, read)

    def watch_socket(self) -> None:
        """From now on (the handshake is over) the end of the socket means death."""
        self._loop.watch(self.socket.fileno(), self._socket_ended)

    def _socket_ended(self) -> None:
        self._loop.unwatch(self.socket.fileno())
        self.kill()  # a worker without its socket is of no use, whatever it is still doing
        if self._pidfd is None:
            self._reap()

    def _reap(self) -> None:
        """In the supervisor's thread, when the process has ended or has been killed."""
        with self._lock:
            self._kill_group()  # what the model forked; the unreaped leader keeps the group's number ours
            try:
                _, status = os.waitpid(self.pid, 0)
                returncode = os.waitstatus_to_exitcode(status)
            except ChildProcessError:
                returncode = None  # the host ignores SIGCHLD or reaped our child; its status is lost
            self._popen.returncode = 0 if returncode is None else returncode
            for output in self._outputs:
                output.read_rest()
            self.death = Death(self.pid, returncode, tuple(self._stderr))
        self._release()
        self._ended.set()
        self._on_death(self.death)

    def _release(self) -> None:
        for fd in [*self._descriptors, self.socket.fileno()]:
            try:
                self._loop.unwatch(fd)
            except KeyError:
                pass  # not watched: the lifeline, or a socket that ended before
            if fd != self.socket.fileno():
                os.close(fd)
        self.socket.close()

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # gone already (macOS says EPERM for a group of zombies)

    def kill(self) -> None:
        """SIGKILL to the worker and all that it forked. The death is reported as always."""
        with self._lock:
            if self.death is None and not self._forgotten:
                self._kill_group()

    def wait_ended(self, seconds: float) -> bool:
        """True if the process ended and was reaped within ``seconds``."""
        return self._ended.wait(seconds)

    def end(self, grace: float) -> None:
        """Wait ``grace`` seconds for it to end by itself, then kill it. Returns when it was reaped."""
        if self._forgotten:
            return
        if not self.wait_ended(grace):
            self.kill()
            self.wait_ended(5.0)

    def forget(self) -> None:
        """In a forked child of the application: this process is the parent's."""
        self._forgotten = True
        self._popen.returncode = 0  # not our child, so nothing to warn of
        if self.death is None:
            for fd in (*self._descriptors, *self.inherited):
                os.close(fd)
            self.socket.close()
