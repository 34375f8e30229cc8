"""One worker process for several models that can live in one environment."""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable
from typing import Literal, Protocol

from neuropod_ope.client.capsules import CapsuleWriter, Redact
from neuropod_ope.client.executor import Executor, Request
from neuropod_ope.client.out_of_process import OutOfProcessExecutor
from neuropod_ope.client.seat import Seat, SharedProcess
from neuropod_ope.client.supervision import Supervision
from neuropod_ope.errors import HandleClosed
from neuropod_ope.model import Neuropod
from neuropod_ope.supervisor.events import Event
from neuropod_ope.supervisor.loop import SupervisorLoop
from neuropod_worker.backends import LoadOptions
from neuropod_worker.package import Package

MakeExecutor = Callable[[Package, Request | None, CapsuleWriter | None], Executor]


class OpenModel(Protocol):
    """Gives a handle to a package whose executor is made on first use; loads it unless ``lazy``."""

    def __call__(
        self,
        path: str | os.PathLike[str],
        make_executor: MakeExecutor,
        options: LoadOptions,
        supervision: Supervision,
        *,
        lazy: bool,
        warm_up: bool,
        timeout: float | None,
        free_memory_every_cycle: bool,
    ) -> Neuropod: ...


class SharedWorker:
    """Models that run in one process, each behind a handle of its own. Made by `Runtime.worker`.

    They share its memory, its framework and its GIL, and are called one after the other. A load that fails does not
    disturb the others. When the process dies, the call that it ran fails, and each model is loaded into a fresh one.
    Closing a model unloads it; closing this closes all of them and ends the process.
    """

    def __init__(
        self,
        process: SharedProcess,
        loop: SupervisorLoop,
        open_model: OpenModel,
        visible_gpu: int | None,
        dropped: frozenset[str],
        supervision: Supervision,
    ) -> None:
        self._process = process
        self._loop = loop
        self._open_model = open_model
        self._visible_gpu = visible_gpu
        self._dropped = dropped
        self._supervision = supervision
        self._ids = itertools.count(1)
        self._models: weakref.WeakSet[Neuropod] = weakref.WeakSet()
        self._owner = os.getpid()
        weakref.finalize(self, process.abandon).atexit = False

    def load(
        self,
        path: str | os.PathLike[str],
        *,
        validate: bool = True,
        load_custom_ops: bool = True,
        lazy: bool = False,
        warm_up: bool = False,
        free_memory_every_cycle: bool = False,
        timeout: float | None = None,
        load_timeout: float | None = None,
        retries: int = 0,
        on_event: Callable[[Event], None] | None = None,
        cancel: Literal["queue", "kill"] = "queue",
        capsule: str | os.PathLike[str] | None = None,
        redact: Redact | None = None,
    ) -> Neuropod:
        """Load a package into this worker. See `load_neuropod`; its other arguments are of the worker.

        ``load_timeout`` includes the wait for other models of the worker. What ends the worker for one model, such as
        ``cancel="kill"``, ends it for all; calls of theirs that it had not begun are answered by the next one.
        """
        if self._process.closed:
            raise HandleClosed("this worker is closed: make another one")
        options = LoadOptions(self._visible_gpu, load_custom_ops, validate)
        supervision = Supervision(self._supervision.restart, on_event, retries, load_timeout, cancel, capsule, redact)

        def make_executor(package: Package, first: Request | None, capsules: CapsuleWriter | None) -> Executor:
            model = next(self._ids)
            seat = Seat(self._process, model, self._loop)
            return OutOfProcessExecutor(
                package, options, seat, model, self._dropped, self._loop, supervision, first, capsules
            )

        model = self._open_model(
            path,
            make_executor,
            options,
            supervision,
            lazy=lazy,
            warm_up=warm_up,
            timeout=timeout,
            free_memory_every_cycle=free_memory_every_cycle,
        )
        self._models.add(model)
        return model

    def close(self) -> None:
        """Close all models and end the process. Idempotent."""
        if os.getpid() != self._owner:  # forked: the process is our parent's
            return
        for model in list(self._models):
            model.close()
        self._process.close()

    def __enter__(self) -> SharedWorker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        latest = self._process.latest
        state = "no worker yet" if latest is None else f"pid={latest.process.pid} {latest.state}"
        if self._process.closed:
            state = "closed"
        return f"<SharedWorker {state}, {len(self._models)} models>"
