"""A model ready to run: gives arrays to its platform's backend, takes what comes and makes arrays of it."""

from typing import Any, Optional, Sequence, Tuple

import numpy as np

from neuropod_worker.backends.backend import Backend, LoadOptions
from neuropod_worker.backends.platforms import import_backend
from neuropod_worker.errors import SpecError
from neuropod_worker.package.package import Package
from neuropod_worker.problem.checks import Arrays, check_outputs, select_outputs
from neuropod_worker.problem.dtypes import DTYPES, dtype_name
from neuropod_worker.problem.signatures import Signature, Signatures


def load_model(package: Package, options: LoadOptions = LoadOptions()) -> "LoadedModel":  # noqa: B008 - immutable
    """Load a package's model into this process, which runs the package's code.

    Raises ``PackageError`` where the package is at fault, else ``LoadError``.
    """
    return LoadedModel(package, options, import_backend(package)(package, options))


class LoadedModel:
    """A loaded model. ``platform_version`` is its framework's version, of Python for platform ``python``.

    ``signatures``: of its outputs."""

    def __init__(self, package: Package, options: LoadOptions, backend: Backend) -> None:
        self.package = package
        self.platform_version = backend.version
        self._backend = backend
        self._validate = options.validate
        self.signatures = Signatures()

    def infer(self, inputs: Arrays, requested: Optional[Sequence[str]] = None) -> Arrays:
        """Run the model; return arrays in native byte order, all outputs or the requested ones.

        ``inputs`` must fit the input spec: the caller has checked them. Raises ``SpecError`` for outputs that
        do not fit, or cannot be had; the model's own exceptions propagate as they are.
        """
        names = self.selected(requested)
        return self.checked(self.call(inputs, names), names)[0]

    def selected(self, requested: Optional[Sequence[str]]) -> Optional[Tuple[str, ...]]:
        """The names of requested outputs; None for all. Raises SpecError for one that there is not."""
        return None if requested is None else select_outputs(self.package.outputs, requested)

    def call(self, inputs: Arrays, names: Optional[Sequence[str]]) -> Any:
        """What the backend gives."""
        return self._backend.infer(inputs, names)

    def checked(self, outputs: Any, names: Optional[Sequence[str]]) -> Tuple[Arrays, Optional[Signature]]:
        """Those of ``names``, as `infer` returns them, and their signature if it is known already."""
        signature: Optional[Signature] = None
        try:
            signature = self.signatures.of(outputs) if type(outputs) is dict else None
        except (AttributeError, TypeError, ValueError):  # lists, also of arrays, or scalars
            pass
        if signature is None or not signature.checked:
            outputs, signature = self._settle(outputs, signature), None
        if names is None:
            return outputs, signature
        missing = [name for name in names if name not in outputs]
        if missing:
            message = "the model did not return the requested output {!r}"
            raise SpecError(message.format(missing[0]), tensor=missing[0])
        return {name: outputs[name] for name in names}, None

    def close(self) -> None:
        """Give the model up; its memory is free once nothing refers to it. A call that is running ends well."""
        self._backend.close()

    def __repr__(self) -> str:
        return "<LoadedModel {} platform={} {}>".format(
            self.package.name, self.package.platform, self.platform_version
        )

    def _settle(self, outputs: Any, signature: Optional[Signature]) -> Arrays:
        """Make native arrays of outputs and check them; remember the signature if they were so to begin with."""
        if not isinstance(outputs, dict):
            message = "the model must return a dict of arrays by output name, but returned {}"
            raise SpecError(message.format(type(outputs).__name__))
        arrays = {name: _native_array(name, value) for name, value in outputs.items()}
        if self._validate:
            check_outputs(self.package.outputs, arrays)
        if signature is not None and all(arrays[name] is outputs[name] for name in arrays):
            self.signatures.check(signature)
        return arrays


def _native_array(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever a foreign object's conversion to an array raises
        raise SpecError("output {!r} cannot be made an array: {}".format(name, error), tensor=name) from error
    dtype = dtype_name(array.dtype)
    if dtype not in DTYPES:  # no spec can ask for it, and it cannot cross to another process
        raise SpecError("output {!r} has dtype {}, which no tensor can have".format(name, dtype), tensor=name)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
