"""For the code of python models: outputs that lie where the caller reads them.

from neuropod_worker.outputs import empty_output

def model(image):
    mask = empty_output(image.shape[:2], "float32")
    np.dot(image, weights, out=mask)
    return {"mask": mask}
"""

from typing import Any, Callable, Optional, Tuple

import numpy as np

from neuropod_worker.shm.placed import COPIED_BYTES

_place: "Optional[Callable[[int], np.ndarray]]" = None


def empty_output(shape: Tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array; returned as an output, it reaches the caller without a copy.

    In a worker it lies in shared memory, unless it is so small that a copy is sooner made; in the caller's own
    process it is an ordinary array. Call it in the thread that runs the model. Raises SharedMemoryExhausted.
    """
    dtype = np.dtype(dtype)
    nbytes = dtype.itemsize
    for size in shape:
        nbytes *= size
    if _place is None or nbytes <= COPIED_BYTES or dtype.kind not in "biufc":
        return np.empty(shape, dtype)
    array: np.ndarray = _place(nbytes).view(dtype).reshape(shape)
    return array


def place_outputs_with(place: "Callable[[int], np.ndarray]") -> None:
    """In a worker: where outputs are to lie. ``place`` gives so many bytes."""
    global _place
    _place = place
