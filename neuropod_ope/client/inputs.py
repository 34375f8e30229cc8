"""Whatever numpy, the buffer protocol or DLPack understands, as arrays that fit the problem definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuropod_ope.errors import SpecError
from neuropod_worker.problem.checks import check_inputs
from neuropod_worker.problem.dtypes import canonical_dtype, numpy_dtype
from neuropod_worker.problem.signatures import Signature, Signatures
from neuropod_worker.problem.specs import TensorSpec


class InputReader:
    """The inputs of one model. Checks each signature (names, dtypes, shapes) once."""

    def __init__(self, specs: Sequence[TensorSpec], validate: bool) -> None:
        self._specs = tuple(specs)
        self._by_name = {spec.name: spec for spec in specs}
        self._validate = validate
        self._signatures = Signatures()

    def read(self, inputs: Mapping[str, Any]) -> tuple[Signature, dict[str, np.ndarray]]:
        """The signature and the arrays. Raises SpecError for what does not fit."""
        if type(inputs) is dict:
            repeated = self._signatures.repeated(inputs)
            if repeated is not None and repeated.checked:
                return repeated, inputs.copy()
        elif not isinstance(inputs, Mapping):
            raise SpecError(f"inputs must be a dict of tensors by name, not {type(inputs).__name__}")
        arrays = {
            name: value if type(value) is np.ndarray and value.dtype.kind != "O" else self._array(name, value)
            for name, value in inputs.items()
        }
        signature = self._signatures.of(arrays)
        if not signature.checked:
            self._check(arrays)
            signature.checked = True
        return signature, arrays

    def _check(self, arrays: dict[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            if not isinstance(name, str):
                raise SpecError(f"inputs must be named by text, not {name!r}")
            try:
                canonical_dtype(array.dtype)
            except ValueError as error:
                raise SpecError(f"input {name!r}: {error}", name) from None
        if self._validate:
            check_inputs(self._specs, arrays)

    def _array(self, name: str, value: Any) -> np.ndarray:
        try:
            array = _as_array(value)
        except Exception as error:  # whatever a foreign object's conversion raises
            raise SpecError(
                f"input {name!r} ({type(value).__name__}) cannot be made an array: {error}", name
            ) from error
        if array.dtype.kind == "O":
            if not all(isinstance(item, str) for item in array.flat):
                raise SpecError(f"input {name!r} holds Python objects; expected numbers or text", name)
            return array.astype(np.str_)
        spec = self._by_name.get(name)
        if spec is not None and not hasattr(value, "dtype"):
            return _as_declared(array, numpy_dtype(spec.dtype))
        return array


def _as_declared(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Python's numbers have no dtype of their own: they take the declared one if it can hold them."""
    if array.size == 0:
        return array.astype(dtype)
    if array.dtype.kind not in "bifc" or dtype.kind not in "biufc" or array.dtype.kind == "c" != dtype.kind:
        return array
    with np.errstate(all="ignore"):
        wanted = array.astype(dtype)
    if array.dtype.kind in "fc" and dtype.kind in "fc":
        fits = np.allclose(wanted, array, rtol=1e-3, atol=0.0, equal_nan=True)
    else:
        fits = array.dtype.kind in "bi" and bool((wanted == array).all())
    return wanted if fits else array


def _as_array(value: Any) -> np.ndarray:
    if np.ma.is_masked(value):
        raise ValueError("a masked array; fill in what is masked first, models know no masks")
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__") or not hasattr(value, "__dlpack__"):
        return np.asarray(value)
    return np.from_dlpack(value)
