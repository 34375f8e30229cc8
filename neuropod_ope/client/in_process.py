"""A model in the caller's own process, run by the same backends as in a worker."""

from __future__ import annotations

import threading
import time
from typing import Any, NamedTuple

import numpy as np

from neuropod_ope.client.executor import Request, WorkerInfo
from neuropod_ope.client.failures import error_from, load_failed
from neuropod_ope.client.future import Task
from neuropod_ope.client.health import Health
from neuropod_ope.client.in_order import CallsInOrder
from neuropod_ope.client.warm_up import warm_up_failed
from neuropod_ope.errors import HandleClosed, LoadError, NeuropodError, PackageError
from neuropod_ope.supervisor.startup import Startup
from neuropod_worker.backends import LoadedModel, LoadOptions, import_backend, load_model
from neuropod_worker.failure import failure_of
from neuropod_worker.package import Package
from neuropod_worker.problem.signatures import Signature


class _Finished(NamedTuple):
    outputs: dict[str, np.ndarray]

    def result(self, deadline: float | None) -> dict[str, np.ndarray]:
        return self.outputs

    def detach(self) -> None:
        """It has run."""

    def cancel(self) -> None:
        """It has run."""


class InProcessExecutor:
    """Implements Executor. A call runs in the calling thread and cannot be stopped, so deadlines do not apply.

    Calls that nobody waits for run in a thread of the model's, one after the other, as a worker runs them.
    """

    def __init__(self, package: Package, options: LoadOptions, warm_up: Request | None) -> None:
        self._package = package
        self._options = options
        self._warm_up = warm_up
        self._model: LoadedModel | None = None
        self._startup: Startup | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._in_order = CallsInOrder(self, f"neuropod-calls-{package.name}")

    def load(self, deadline: float | None) -> None:
        self._loaded()

    def wait_ready(self, deadline: float | None) -> None:
        self._loaded()

    def health(self, stuck_after: float) -> Health:
        loaded = self._model is not None
        return Health(True, loaded, "ready" if loaded else "new", ())

    def wait_answered(self, deadline: float | None) -> bool:
        return True

    def _loaded(self) -> LoadedModel:
        with self._lock:
            if self._closed:
                raise HandleClosed(f"model {self._package.name!r} is closed")
            if self._model is None:
                started = time.monotonic()
                try:
                    import_backend(self._package)
                    imported = time.monotonic()
                    model = load_model(self._package, self._options)
                except (LoadError, PackageError) as error:
                    raise load_failed(error, self._package) from error.__cause__
                loaded, warm_up = time.monotonic(), 0.0
                if self._warm_up is not None:
                    self._run_warm_up(model, self._warm_up)
                    warm_up = time.monotonic() - loaded
                self._startup = Startup(framework=imported - started, package=loaded - imported, warm_up=warm_up)
                self._model = model
            return self._model

    def _run_warm_up(self, model: LoadedModel, request: Request) -> None:
        try:
            self._run(model, request)
        except NeuropodError as error:
            raise warm_up_failed(error, self._package.name) from error

    def infer_at_once(self, signature: Signature, inputs: Any, deadline: float | None) -> None:
        """Nothing is sent."""

    def submit(self, request: Request, deadline: float | None) -> _Finished:
        return _Finished(self._run(self._model or self._loaded(), request))

    def _run(self, model: LoadedModel, request: Request) -> dict[str, np.ndarray]:
        try:
            return model.infer(request.inputs, request.requested)
        except NeuropodError:
            raise
        except (Exception, SystemExit) as error:  # the model's own code may raise anything; it becomes one of ours
            left_out = request.left_out(self._package.inputs)
            raise error_from(failure_of(error), self._package.name, left_out) from error

    def announce(self, name: str, array: np.ndarray) -> None:
        """Nobody else needs to know."""

    def free_unused_memory(self) -> None:
        """Inputs and outputs are ordinary arrays."""

    def enqueue(self, task: Task) -> None:
        self._in_order.enqueue(task)

    def startup(self) -> Startup | None:
        return self._startup

    def workers(self) -> tuple[WorkerInfo, ...]:
        return ()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            model, self._model = self._model, None
        self._in_order.close()
        if model is not None:
            model.close()

    def abandon(self) -> None:
        """Nothing to give back but a thread and memory, and that goes with this object."""
        self._in_order.abandon()
