"""Arrays that lie in shared memory already, and how they are recognised: what carries them need not copy them.

numpy collapses a chain of views, but never through something that is no ndarray. So the array that is handed out is
based on an object that refers to an `Owner`; whatever is derived from it keeps that owner, and the memory with it.
"""

import ctypes
import os
import threading
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from neuropod_worker.shm.mapping import Mapping

_last_file = [0]
_lending = threading.Lock()  # an array may be lent to several workers at once
COPIED_BYTES = 64 * 1024  # what has no more is copied sooner than it is recognised, lent and taken back (10 us)


class SharedFile:
    """A file whose pages other processes can map, open as ``fd`` until this object goes. ``id`` is not reused."""

    def __init__(self, fd: int, mapping: Mapping) -> None:
        self.fd = fd
        self.mapping = mapping
        _last_file[0] += 1
        self.id = _last_file[0]

    def __del__(
        self, close: Callable[[int], None] = os.close
    ) -> None:  # bound early: module globals go first at exit
        close(self.fd)


class Owner:
    """Keeps the memory of arrays: ``file`` and whatever ``release`` gives back when the last array is gone.

    It owns ``nbytes`` from ``start`` of the file. While a call is in flight its arrays are lent: they cannot be
    written to, as far as numpy can tell. ``lend`` and ``take_back`` are called by `lend` and `take_back` below.
    """

    def __init__(self, file: Any, start: int, nbytes: int, release: Optional[Callable[[], None]] = None) -> None:
        self.file = file
        self.start = start
        self.nbytes = nbytes
        self._release = release
        self._lent = 0
        self._guarded: List[np.ndarray] = []

    def lend(self, array: np.ndarray) -> None:
        self._lent += 1
        flags = array.flags
        if flags.writeable:
            flags.writeable = False
            self._guarded.append(array)

    def take_back(self) -> None:
        self._lent -= 1
        while self._guarded and not self._lent:
            self._guarded.pop().flags.writeable = True

    def __del__(self) -> None:
        # Runs wherever the garbage collector happens to be, so ``release`` takes no lock.
        if self._release is not None:
            self._release()


def owned_bytes(mapping: Mapping, owner: Owner) -> np.ndarray:
    """What ``owner`` owns of a mapping (at least a byte), as uint8, writable if that is; it keeps ``owner``."""
    memory = (ctypes.c_char * owner.nbytes).from_address(mapping.address + owner.start)
    memory._owner = owner  # type: ignore[attr-defined]
    view = memoryview(memory).cast("B")
    # Based on a memoryview, not on an ``__array_interface__``: only then numpy lets a guarded array be written again.
    array = np.frombuffer(view, dtype=np.uint8)
    array.flags.writeable = mapping.writable
    return array


class Placed(NamedTuple):
    """Where an array lies: at ``offset`` of the owner's file."""

    owner: Any
    offset: int


def placed(array: np.ndarray) -> Optional[Placed]:
    """Where ``array`` lies in a file that other processes can map.

    None if it does not, or not as it has to cross, or if it is so small that it had better be copied.
    """
    nbytes = array.nbytes
    base: Any = array.base
    if nbytes <= COPIED_BYTES or base is None:
        return None
    while type(base) is np.ndarray:
        base = base.base
    if type(base) is memoryview:
        base = getattr(base.obj, "_owner", None)
    file, dtype = getattr(base, "file", None), array.dtype
    if file is None or not array.flags.c_contiguous or not dtype.isnative or dtype.kind == "U":
        return None
    # What is as large as all that is owned starts where that does; to ask numpy for the address costs 2 us.
    offset = base.start if nbytes == base.nbytes else array.__array_interface__["data"][0] - file.mapping.address
    return Placed(base, offset) if offset % dtype.itemsize == 0 else None


Lent = Sequence[Tuple[Placed, np.ndarray]]


def lend(lent: Lent) -> None:
    """A worker reads these arrays now."""
    with _lending:
        for place, array in lent:
            place.owner.lend(array)


def take_back(lent: Lent) -> None:
    """It does not read them any more."""
    with _lending:
        for place, _ in lent:
            place.owner.take_back()
