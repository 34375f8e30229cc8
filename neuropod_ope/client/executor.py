"""What a model handle needs from whatever runs its model. One contract suite runs over all implementations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from neuropod_ope.client.health import Health
from neuropod_ope.supervisor.startup import Startup
from neuropod_worker.problem.signatures import Signature
from neuropod_worker.problem.specs import TensorSpec

if TYPE_CHECKING:
    from neuropod_ope.client.future import Task


class WorkerInfo(NamedTuple):
    """One worker of a model. ``state`` is one of `supervisor.states.WORKER`, or "standby"; ``restarts`` counts
    fresh workers after the first; ``startup`` tells how long it took to start, without the environment."""

    pid: int
    state: str
    python_version: str
    platform_version: str
    restarts: int
    startup: Startup


class Request(NamedTuple):
    """The arguments of a call. ``signature`` is that of ``inputs``; ``requested`` names the outputs wanted."""

    signature: Signature
    inputs: dict[str, np.ndarray]
    requested: tuple[str, ...] | None

    def copied(self) -> Request:
        """The same with inputs of its own."""
        return self._replace(inputs={name: array.copy() for name, array in self.inputs.items()})

    def left_out(self, specs: Sequence[TensorSpec]) -> tuple[str, ...]:
        """The names of the inputs that are not given."""
        return tuple(spec.name for spec in specs if spec.name not in self.inputs)


class Pending(Protocol):
    """A submitted request."""

    def result(self, deadline: float | None) -> dict[str, np.ndarray]:
        """The outputs. Raises ModelError, SpecError, InferTimeout after ``deadline`` (time.monotonic),
        WorkerDied, SharedMemoryExhausted, HandleClosed."""
        ...

    def detach(self) -> None:
        """From now on the caller may change the arrays that it gave."""
        ...

    def cancel(self) -> None:
        """Nobody will ask for the outputs: do not start it, if that can be helped. Never blocks, because the garbage
        collector may call it."""
        ...


class Executor(Protocol):
    """Runs one model. Thread-safe."""

    def load(self, deadline: float | None) -> None:
        """Make the model ready. Idempotent. Raises LoadError, PackageError, InferTimeout, WorkerDied."""
        ...

    def wait_ready(self, deadline: float | None) -> None:
        """Wait until it is ready; load it if nobody has. Raises what load raises, also of a load in the past."""
        ...

    def health(self, stuck_after: float) -> Health:
        """Facts, each taken now. A worker may be at one request for ``stuck_after`` seconds."""
        ...

    def wait_answered(self, deadline: float | None) -> bool:
        """Wait until its workers have answered all that they got: True, or False after ``deadline``."""
        ...

    def infer_at_once(
        self, signature: Signature, inputs: Any, deadline: float | None
    ) -> dict[str, np.ndarray] | Pending | None:
        """A call for all outputs whose ``inputs`` are like those of ``signature``, which is checked here.

        Gives the outputs; or the submitted request, if it is not answered so soon; or None: `submit` it.
        """
        ...

    def submit(self, request: Request, deadline: float | None) -> Pending:
        """Start a request; load the model first if need be. Raises SharedMemoryExhausted and what load raises."""
        ...

    def announce(self, name: str, array: np.ndarray) -> None:
        """``array``, in shared memory, will be input ``name`` of a request to come."""
        ...

    def free_unused_memory(self) -> None:
        """Give what is only kept for reuse back to the system."""
        ...

    def enqueue(self, task: Task) -> None:
        """Take a request whose caller does not wait: the executor becomes its runner. Raises QueueFull, and what
        submit raises if the request can be sent at once."""
        ...

    def startup(self) -> Startup | None:
        """How long it took to get ready, without the environment; None before that."""
        ...

    def workers(self) -> tuple[WorkerInfo, ...]:
        """The facts about its worker processes; empty if it has none."""
        ...

    def close(self) -> None:
        """Give everything back and wait for it. Idempotent."""
        ...

    def abandon(self) -> None:
        """Give everything back without waiting and without a lock: called by the garbage collector, in any thread."""
        ...
