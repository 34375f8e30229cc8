"""Whatever numpy, the buffer protocol or DLPack understands, as arrays that fit the problem definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuropod_ope.errors import SpecError
from neuropod_worker.problem.checks import check_inputs
from neuropod_worker.problem.conversion import as_tensor
from neuropod_worker.problem.dtypes import canonical_dtype
from neuropod_worker.problem.signatures import Signature, Signatures
from neuropod_worker.problem.specs import TensorSpec


class InputReader:
    """The inputs of one model. Checks each signature (names, dtypes, shapes) once."""

    def __init__(self, specs: Sequence[TensorSpec], validate: bool) -> None:
        self._specs = tuple(specs)
        self._by_name = {spec.name: spec for spec in specs}
        self._validate = validate
        self.signatures = Signatures()

    def read(self, inputs: Mapping[str, Any]) -> tuple[Signature, dict[str, np.ndarray]]:
        """The signature and the arrays. Raises SpecError for what does not fit."""
        if type(inputs) is dict:
            latest = self.signatures.latest
            if latest is not None and latest.fits(inputs):
                return latest, inputs.copy()
        elif not isinstance(inputs, Mapping):
            raise SpecError(f"inputs must be a dict of tensors by name, not {type(inputs).__name__}")
        arrays = {
            name: value
            if type(value) is np.ndarray and value.dtype.kind != "O"
            else as_tensor("input", name, value, self._by_name.get(name))
            for name, value in inputs.items()
        }
        signature = self.signatures.of(arrays)
        if not signature.checked:
            self._check(arrays)
            self.signatures.check(signature)
        return signature, arrays

    def _check(self, arrays: dict[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            if not isinstance(name, str):
                raise SpecError(f"inputs must be named by text, not {name!r}")
            if array.dtype.kind == "S":
                decode = "x.decode()" if array.ndim == 0 else "np.char.decode(x)"
                raise SpecError(
                    f"input {name!r} holds bytes, which may be in any encoding: give text, {decode}", name
                )
            try:
                canonical_dtype(array.dtype)
            except ValueError as error:
                raise SpecError(f"input {name!r}: {error}", name) from None
        if self._validate:
            check_inputs(self._specs, arrays)
