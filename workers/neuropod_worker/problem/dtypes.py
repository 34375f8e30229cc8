"""Names of tensor element types: the canonical ones, and what users write instead of them."""

from typing import Any

import numpy as np

ORIGINAL_DTYPES = (
    "float32", "float64", "string", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip
# A package that uses none of these stays readable by the original.
ADDED_DTYPES = ("bool", "float16", "complex64", "complex128")
DTYPES = frozenset(ORIGINAL_DTYPES + ADDED_DTYPES)


def dtype_name(dtype: np.dtype) -> str:
    """The canonical name of an array's dtype in any byte order; numpy's own name where there is none."""
    return "string" if dtype.kind == "U" else str(dtype.name)


def canonical_dtype(dtype: Any) -> str:
    """The canonical name of ``"double"``, ``np.float32``, ``str``, ``np.dtype(">i4")`` and the like.

    Raises ``ValueError`` for what names no tensor dtype.
    """
    if isinstance(dtype, str) and dtype in DTYPES:
        return dtype
    if dtype is not None:  # np.dtype(None) is float64
        try:
            name = dtype_name(np.dtype(dtype))
        except TypeError:
            name = ""
        if name in DTYPES:
            return name
    raise ValueError("dtype {!r} is not supported; supported are {}".format(dtype, ", ".join(sorted(DTYPES))))


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype of a canonical name; for ``string`` the unicode dtype without a length."""
    return np.dtype("U" if name == "string" else name)
