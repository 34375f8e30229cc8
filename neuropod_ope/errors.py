"""All errors of the library in one place. They share the root `NeuropodError`, pickle, and carry facts.

A message says what was expected, what came and what to do next; the attributes say it to programs.
"""

from __future__ import annotations

from neuropod_ope.environment.errors import EnvironmentBuildError, NoMatchingEnvironment
from neuropod_worker.errors import LoadError, NeuropodError, PackageError, SpecError
from neuropod_worker.shm.arena import SharedMemoryExhausted
from neuropod_worker.wire.codec import ProtocolViolation

__all__ = [
    "EnvironmentBuildError",
    "HandleClosed",
    "InferTimeout",
    "LoadError",
    "ModelError",
    "NeuropodError",
    "NoMatchingEnvironment",
    "PackageError",
    "ProtocolViolation",
    "QueueFull",
    "SharedMemoryExhausted",
    "SpecError",
    "WorkerDied",
]


class ModelError(NeuropodError):
    """The model's own code raised an exception. The model goes on and can be called again.

    ``remote_type`` and ``remote_message`` describe the exception, ``remote_traceback`` is its text.

    What to do: read the remote traceback; it is the model that has to be mended, or its inputs.
    """

    def __init__(
        self, message: str, remote_type: str = "", remote_message: str = "", remote_traceback: str = ""
    ) -> None:
        super().__init__(message)
        self.remote_type = remote_type
        self.remote_message = remote_message
        self.remote_traceback = remote_traceback


class WorkerDied(NeuropodError):
    """The worker process ended while it was needed. A fresh one replaces it as the model's ``RestartPolicy`` says.

    ``signal`` is the number of the signal that killed it, ``exit_code`` its exit status; both are ``None``
    where the host reaped our child and the status is unknown. ``stderr`` holds its last lines.
    ``out_of_memory``: whether memory ran out and the kernel killed it for that; ``None``: the kernel does not say.
    ``stacks``: of all its threads, where native code crashed. ``capsule``: the path of its crash capsule, if one was
    written.

    What to do: call again, or load with ``retries`` if the model does the same for the same inputs. If it comes
    again: the last lines and the stacks show native crashes; after an out-of-memory kill, smaller batches or more
    memory.
    """

    retryable = True

    def __init__(
        self,
        message: str,
        model: str = "",
        pid: int = 0,
        signal: int | None = None,
        exit_code: int | None = None,
        stderr: tuple[str, ...] = (),
        request: int | None = None,
        out_of_memory: bool | None = None,
        stacks: str = "",
    ) -> None:
        super().__init__(message)
        self.model = model
        self.pid = pid
        self.out_of_memory = out_of_memory
        self.stacks = stacks
        self.capsule: str | None = None
        self.signal = signal
        self.exit_code = exit_code
        self.stderr = stderr
        self.request = request


class InferTimeout(NeuropodError, TimeoutError):
    """A call or a load took longer than its timeout. A worker that was busy with it was killed.

    ``stacks`` shows what it was doing: the stacks of all its threads; empty if it was not asked, or did not say.
    ``capsule``: the path of its crash capsule, if one was written.

    What to do: call again with more time, or look at the stacks for what it was waiting for.
    """

    retryable = True

    def __init__(self, message: str, model: str = "", request: int | None = None, stacks: str = "") -> None:
        super().__init__(message)
        self.model = model
        self.request = request
        self.stacks = stacks
        self.capsule: str | None = None


class QueueFull(NeuropodError):
    """Too many calls wait for room in the worker's mailbox (1024 calls, or 1 GiB of their inputs).

    What to do: wait for some of the calls that are in flight, or load more ``instances``.
    """

    retryable = True


class HandleClosed(NeuropodError):
    """The model, or the runtime that it belongs to, was closed.

    What to do: load the model again; after a fork, load it in the child.
    """
