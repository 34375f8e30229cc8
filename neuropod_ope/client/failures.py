"""Failures as data, raised afresh as our errors. The same for both ways to run a model."""

from __future__ import annotations

from neuropod_ope.errors import (
    LoadError,
    ModelError,
    NeuropodError,
    PackageError,
    SharedMemoryExhausted,
    SpecError,
)
from neuropod_worker.failure import Failure
from neuropod_worker.wire import messages as m


def error_from(failure: Failure, model: str) -> NeuropodError:
    """The error to raise for a failure of ``model``."""
    if failure.kind == m.SPEC:
        return SpecError(failure.message)
    if failure.kind == m.PACKAGE:
        return PackageError(failure.message)
    if failure.kind == m.MEMORY:
        return SharedMemoryExhausted(failure.message)
    if failure.kind == m.LOAD:
        return LoadError(failure.message, failure.remote_type, failure.traceback)
    return ModelError(
        f"model {model!r} raised {failure.remote_type}: {failure.message}\n"
        f"Traceback in the model:\n{failure.traceback}",
        failure.remote_type,
        failure.message,
        failure.traceback,
    )
