"""Inputs that cross without a copy: arrays in shared memory of ours, and files that the application has."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from neuropod_ope.errors import SpecError
from neuropod_worker.problem.checks import check_inputs
from neuropod_worker.problem.dtypes import numpy_dtype
from neuropod_worker.problem.specs import TensorSpec
from neuropod_worker.shm.arena import Arena, arena_over
from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.shm.placed import COPIED_BYTES, Owner, SharedFile, owned_bytes


class InputMemory:
    """Makes the arrays of `Neuropod.allocate` and `Neuropod.wrap`. Thread-safe.

    One segment serves all workers of a model and outlives them. ``size`` is its budget in bytes. ``make_segment`` is
    None for a model in this process, whose inputs are ordinary arrays.
    """

    def __init__(self, specs: Sequence[TensorSpec], make_segment: Callable[[int], int] | None, size: int) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._make_segment = make_segment
        self._size = size
        self._lock = threading.Lock()
        self._file: SharedFile | None = None
        self._arena: Arena | None = None
        self._freed: deque[int] = deque()  # blocks whose arrays are gone; finalizers append, from any thread

    def allocate(self, name: str, shape: Sequence[int]) -> np.ndarray:
        dtype = self._dtype(name)
        shape = tuple(shape)
        nbytes = dtype.itemsize
        for size in shape:
            nbytes *= size
        array: np.ndarray
        if self._make_segment is None or nbytes <= COPIED_BYTES:
            array = np.empty(shape, dtype)
        else:
            array = self._bytes(nbytes)[:nbytes].view(dtype).reshape(shape)
        check_inputs((self._specs[name],), {name: array})
        return array

    def wrap(self, name: str, file: Any, shape: Sequence[int], offset: int) -> np.ndarray:
        dtype = self._dtype(name)
        if offset < 0 or offset % dtype.itemsize:
            raise ValueError(f"offset {offset} is not a multiple of the {dtype.itemsize} bytes of a {dtype}")
        with contextlib.ExitStack() as undo:
            fd, writable = _opened(file)
            undo.callback(os.close, fd)
            size = os.fstat(fd).st_size
            nbytes = int(np.prod(tuple(shape), dtype=object)) * dtype.itemsize
            if offset + nbytes > size:
                raise ValueError(
                    f"input {name!r} of shape {tuple(shape)} needs bytes {offset} to {offset + nbytes}, "
                    f"but the file has {size}"
                )
            mapping = Mapping(fd, max(size, 1), writable)
            shared = SharedFile(fd, mapping)
            undo.pop_all()
        if nbytes == 0:
            return np.empty(shape, dtype)
        array: np.ndarray = owned_bytes(mapping, Owner(shared, offset, nbytes)).view(dtype).reshape(shape)
        check_inputs((self._specs[name],), {name: array})
        return array

    def trim(self) -> None:
        """Give what no array uses back to the system."""
        with self._lock:
            if self._arena is not None:
                self._free_blocks()
                self._arena.trim()

    def _bytes(self, nbytes: int) -> np.ndarray:
        assert self._make_segment is not None
        with self._lock:
            if self._file is None:
                fd = self._make_segment(self._size)
                self._file = SharedFile(fd, Mapping(fd, self._size))
                self._arena = arena_over(fd, self._file.mapping)
            assert self._arena is not None
            self._free_blocks()
            block = self._arena.allocate(nbytes)
        freed = self._freed
        return owned_bytes(self._file.mapping, Owner(self._file, block, nbytes, lambda: freed.append(block)))

    def _free_blocks(self) -> None:
        assert self._arena is not None
        while self._freed:
            self._arena.free(self._freed.popleft())

    def _dtype(self, name: str) -> np.dtype:
        if name not in self._specs:
            known = ", ".join(repr(known) for known in self._specs) or "none"
            raise SpecError(f"there is no input {name!r}; the model's inputs are {known}", name)
        dtype = self._specs[name].dtype
        if dtype == "string":
            raise SpecError(f"input {name!r} holds text, which has no fixed place: pass an array of str", name)
        return numpy_dtype(dtype)


def _opened(file: Any) -> tuple[int, bool]:
    """A descriptor of our own, and whether it may be written to. ``file``: a path, a descriptor, or a file object."""
    if isinstance(file, (str, bytes, os.PathLike)):
        try:
            return os.open(file, os.O_RDWR | os.O_CLOEXEC), True
        except PermissionError:
            return os.open(file, os.O_RDONLY | os.O_CLOEXEC), False
    fd = os.dup(file if isinstance(file, int) else file.fileno())
    return fd, fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
