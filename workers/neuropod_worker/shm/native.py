"""The memory operations of a repeated call in native code, where it can be had. What it saves: docs/performance.md.

``library`` is `_native.c`, or None: it was not built, it is not for this platform, or this numpy keeps its arrays in
another way. Then all is done in Python, by the twins of its functions here and of ``Ring`` in `shm.control.Mailbox`.
"""

import importlib
import sys
from typing import Any, Dict, Tuple

import numpy as np

Layout = Tuple[Tuple[str, np.ndarray, int], ...]  # name, view in shared memory, bytes

_ndarray = np.ndarray  # looked up for each tensor of each call


def _understands_numpy(library: Any) -> bool:
    """Whether the library finds the parts of an array where this numpy has them."""
    library.set_array_type(np.ndarray)
    whole = np.zeros((2, 3, 5), np.int16)
    for array in (whole, whole[:, 1:], np.zeros((), np.float32), np.zeros((0, 4), np.uint8), np.zeros((1, 7))):
        address, shape, base, dtype, contiguous = library.describe(array)
        where = (array.__array_interface__["data"][0], array.shape, array.flags.c_contiguous)
        if (address, shape, contiguous) != where or base is not array.base or dtype is not array.dtype:
            return False
    return True


def _load() -> Any:
    try:
        found: Any = importlib.import_module("neuropod_worker._native")
    except ImportError:
        return None
    return found if _understands_numpy(found) else None


library = _load()


def _place(arrays: Any, layout: Layout) -> bool:
    """Copy a dict of plain arrays to the views of ``layout``.

    False if it is none, or they are not contiguous, or not of just its names, dtypes and shapes in their order;
    then the views hold anything.
    """
    if type(arrays) is not dict or len(arrays) != len(layout):
        return False
    for (name, array), (expected, view, _) in zip(arrays.items(), layout):
        # By identity of the dtype: numpy has one object for each of the usual ones, and comparing is slow.
        if (
            type(name) is not str
            or name != expected
            or type(array) is not _ndarray
            or array.dtype is not view.dtype
            or array.shape != view.shape
            or not array.flags.c_contiguous
        ):
            return False
        view[...] = array
    return True


def _copies(arrays: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """The same by name, each with memory of its own."""
    return {name: array.copy() for name, array in arrays.items()}


def _most_references(objects: Tuple[Any, ...]) -> int:
    """How many references there are to that of ``objects`` which has the most; comparable with each other only."""
    return max(map(sys.getrefcount, objects)) if objects else 0


place, copies, most_references = _place, _copies, _most_references
if library is not None:
    place, copies, most_references = library.place, library.copies, library.most_references
