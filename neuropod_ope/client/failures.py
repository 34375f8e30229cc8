"""Failures as data, raised afresh as our errors. The same for both ways to run a model."""

from __future__ import annotations

from collections.abc import Iterable

from neuropod_ope.errors import (
    LoadError,
    ModelError,
    NeuropodError,
    PackageError,
    SharedMemoryExhausted,
    SpecError,
)
from neuropod_worker.failure import Failure
from neuropod_worker.package import Package
from neuropod_worker.wire import messages as m

_LONGEST_SIZE = 20  # digits; a worker may say anything


def error_from(failure: Failure, model: str, left_out: Iterable[str] = ()) -> NeuropodError:
    """The error to raise for a failure of ``model``, in a call to which the inputs ``left_out`` were not given."""
    facts = failure.facts or ()
    if failure.kind == m.SPEC:
        return SpecError(failure.message, *facts[:1])
    if failure.kind == m.PACKAGE:
        return PackageError(failure.message, *facts[:1])
    if failure.kind == m.MEMORY:
        sizes = [int(fact) for fact in facts[:2] if fact.isdecimal() and len(fact) < _LONGEST_SIZE]
        return SharedMemoryExhausted(failure.message, *sizes)
    if failure.kind == m.LOAD:
        return LoadError(failure.message, failure.remote_type, failure.traceback)
    names = ", ".join(map(repr, left_out))
    return ModelError(
        f"model {model!r} raised {failure.remote_type}: {failure.message}{names and f' (not given: {names})'}\n"
        f"Traceback in the model:\n{failure.traceback}",
        failure.remote_type,
        failure.message,
        failure.traceback,
    )


def load_failed(error: NeuropodError, package: Package) -> NeuropodError:
    """The same error with what its user knows: the name of the model, and the folder or zip file that was opened."""
    message = f"model {package.name!r} of {package.source}: {error}"
    if isinstance(error, LoadError):
        return LoadError(message, error.remote_type, error.remote_traceback)
    return PackageError(message, error.path) if isinstance(error, PackageError) else error
