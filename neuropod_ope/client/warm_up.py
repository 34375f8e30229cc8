"""A first call on the package's own test data, so that a model that is ready is warm."""

from __future__ import annotations

from neuropod_ope.client.executor import Request
from neuropod_ope.client.inputs import InputReader
from neuropod_ope.errors import LoadError, ModelError, NeuropodError, PackageError
from neuropod_worker.package import Package
from neuropod_worker.package.tensors_file import read_test_data


def warm_up_request(package: Package, validate: bool) -> Request:
    """The call to make. Raises PackageError where the package has no test data, SpecError where they do not fit."""
    data = read_test_data(package.path)
    if data is None:
        raise PackageError(
            f"model {package.name!r} has no test data to be warmed up with: package it with test_input_data, or load "
            "it without warm_up",
            package.path,
        )
    signature, arrays = InputReader(package.inputs, validate).read(data.inputs)
    return Request(signature, arrays, None)


def warm_up_failed(error: NeuropodError, model: str) -> NeuropodError:
    """What the model raised in its first call keeps it from being ready."""
    if not isinstance(error, ModelError):
        return error
    return LoadError(
        f"model {model!r} was loaded, but its warm-up failed: {error}", error.remote_type, error.remote_traceback
    )
