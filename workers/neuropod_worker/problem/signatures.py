"""What makes two calls alike: the names, dtypes and shapes of their tensors, as one object."""

from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

# Shapes vary with the data; the signatures remembered must not grow for ever.
_MOST = 1024

_ndarray = np.ndarray  # looked up for each tensor of each call


class Signature:
    """Alike calls have the same object, so a comparison or a dictionary needs no look at the tensors.

    ``checked``: tensors like these are in order.
    """

    __slots__ = ("_names", "_tensors", "checked")

    def __init__(self, tensors: Tuple[Tuple[str, Any, Tuple[int, ...]], ...]) -> None:
        self._names = [name for name, _, _ in tensors]
        self._tensors = [(dtype, shape) for _, dtype, shape in tensors]
        self.checked = False

    def fits(self, arrays: Mapping[str, Any]) -> bool:
        """Whether these are plain arrays of just these names, dtypes and shapes. False may be wrong."""
        if list(arrays) != self._names:
            return False
        for array, (dtype, shape) in zip(arrays.values(), self._tensors):
            # By identity of the dtype: numpy has one object for each of the usual ones, and comparing is slow.
            if type(array) is not _ndarray or array.dtype is not dtype or array.shape != shape:
                return False
        return True


class Signatures:
    """The signatures of one model's inputs or outputs. ``latest``: the last one, if it is checked."""

    def __init__(self) -> None:
        self._known: Dict[Any, Signature] = {}
        self.latest: Optional[Signature] = None

    def of(self, arrays: Mapping[str, Any]) -> Signature:
        """The signature of arrays by name. Raises AttributeError or TypeError if they are none."""
        latest = self.latest
        if latest is not None and latest.fits(arrays):
            return latest
        tensors = tuple([(name, array.dtype, array.shape) for name, array in arrays.items()])
        key = (tensors, tuple([type(array) for array in arrays.values()]))
        signature = self._known.get(key)
        if signature is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            signature = self._known[key] = Signature(tensors)
        self.latest = signature if signature.checked else None
        return signature

    def check(self, signature: Signature) -> None:
        """Note that the last ones, whose signature it is and which are plain arrays, are in order."""
        signature.checked = True
        self.latest = signature
