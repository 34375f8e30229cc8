"""What a model handle needs from whatever runs its model. One contract suite runs over all implementations."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from neuropod_ope.client.connection import Key


class WorkerInfo(NamedTuple):
    """One worker of a model. ``state`` is one of `supervisor.states.STATES`; ``restarts`` counts fresh workers
    after the first."""

    pid: int
    state: str
    python_version: str
    platform_version: str
    restarts: int


class Pending(Protocol):
    """A submitted request."""

    def result(self, deadline: float | None) -> dict[str, np.ndarray]:
        """The outputs. Raises ModelError, SpecError, InferTimeout after ``deadline`` (time.monotonic),
        WorkerDied, SharedMemoryExhausted, HandleClosed."""
        ...


class Executor(Protocol):
    """Runs one model. Thread-safe."""

    def load(self, deadline: float | None) -> None:
        """Make the model ready. Idempotent. Raises LoadError, PackageError, InferTimeout, WorkerDied."""
        ...

    def submit(
        self,
        key: Key,
        inputs: dict[str, np.ndarray],
        requested: tuple[str, ...] | None,
        deadline: float | None,
    ) -> Pending:
        """Start a request; ``key`` stands for the names, dtypes and shapes of ``inputs``. Loads if need be."""
        ...

    def workers(self) -> tuple[WorkerInfo, ...]:
        """The facts about its worker processes; empty if it has none."""
        ...

    def close(self) -> None:
        """Give everything back. Idempotent."""
        ...
