"""What users give for tensors, as arrays: whatever numpy, the buffer protocol or DLPack understands."""

from typing import Any, Optional

import numpy as np

from neuropod_worker.errors import SpecError
from neuropod_worker.problem.dtypes import numpy_dtype
from neuropod_worker.problem.specs import TensorSpec


def as_tensor(role: str, name: str, value: Any, spec: Optional[TensorSpec]) -> np.ndarray:
    """An array of ``value``; what has no dtype of its own takes that of its ``spec``. Raises ``SpecError``."""
    try:
        array = _as_array(value)
    except Exception as error:  # whatever a foreign object's conversion raises
        message = "{} {!r} ({}) cannot be made an array: {}"
        raise SpecError(message.format(role, name, type(value).__name__, error), name) from error
    if array.dtype.kind == "O":
        if not all(isinstance(item, str) for item in array.flat):
            message = "{} {!r} holds Python objects; expected numbers or text"
            raise SpecError(message.format(role, name), name)
        return array.astype(np.str_)
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
