"""Blocks inside one sparse segment.

The segment's file has its full virtual size from the start and no memory: each block's pages are allocated
(``posix_fallocate``) before anybody writes to them, so that a full /dev/shm is an error here and not a SIGBUS
later. Freed memory is kept and reused, because the first touch of fresh pages is what large tensors pay for.
"""

import bisect
import ctypes
import errno
import mmap
import os
from typing import Callable, Dict, List, Optional

from neuropod_worker.errors import NeuropodError
from neuropod_worker.shm.libc import releasing_gil
from neuropod_worker.shm.mapping import Mapping, huge_pages_offered

ALIGNMENT = 64  # bytes: a cache line, and what vector instructions want
PAGE = mmap.PAGESIZE
_GROWTH = 256 * 1024  # bytes added at least, so that many small blocks do not mean many system calls


class SharedMemoryExhausted(NeuropodError, MemoryError):
    """There is no shared memory left for a tensor. ``wanted`` and ``in_use`` are bytes of this arena.

    What to do: keep fewer results, send smaller tensors, raise ``memory_budget``, give /dev/shm more room, or use
    ``Runtime(segment="memfd")``; the model works again as soon as there is space.
    """

    retryable = True

    def __init__(self, message: str, wanted: int = 0, in_use: int = 0) -> None:
        super().__init__(message)
        self.wanted = wanted
        self.in_use = in_use


_PUNCH_HOLE = 0x02 | 0x01  # and FALLOC_FL_KEEP_SIZE


def return_pages(fd: int, offset: int, size: int) -> bool:
    """Give the pages of a range back to the system (Linux). False where that cannot be done."""
    fallocate = getattr(releasing_gil, "fallocate", None)
    return fallocate is not None and not fallocate(fd, _PUNCH_HOLE, ctypes.c_int64(offset), ctypes.c_int64(size))


def reserve_pages(fd: int, offset: int, size: int) -> None:
    """Allocate the pages of a range now. Raises OSError where there is no memory for them."""
    if hasattr(os, "posix_fallocate"):  # not on macOS, whose shared memory is not sparse
        os.posix_fallocate(fd, offset, size)


class Arena:
    """Best-fit blocks with coalescing. Not thread-safe: the owner of the arena holds a lock around it."""

    def __init__(
        self,
        fd: int,
        size: int,
        reserve: Callable[[int, int, int], None],
        give_back: Callable[[int, int, int], bool] = return_pages,
    ) -> None:
        self._fd = fd
        self._size = size
        self._reserve = reserve
        self._give_back = give_back
        self._holes: Dict[int, int] = {}  # page ranges without memory, each inside one free extent
        self._committed = 0
        self._used: Dict[int, int] = {}
        self._free_starts: List[int] = []  # sorted; no two free extents touch
        self._free_sizes: Dict[int, int] = {}

    @property
    def in_use(self) -> int:
        """Bytes in allocated blocks."""
        return sum(self._used.values())

    @property
    def committed(self) -> int:
        """Bytes of memory that this arena holds, used or not."""
        return self._committed - sum(self._holes.values())

    def allocate(self, nbytes: int) -> int:
        """The offset of a new block of at least ``nbytes``. Raises SharedMemoryExhausted."""
        size = max(-(-nbytes // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
        fitting = [(extent, start) for start, extent in self._free_sizes.items() if extent >= size]
        if fitting:
            extent, start = min(fitting)
            self._forget_extent(start)
        else:
            start, extent = self._grow(size)
        if extent > size:
            self._add_extent(start + size, extent - size)
        self._used[start] = size
        if self._holes:
            self._fill_holes(start, size)
        return start

    def free(self, offset: int) -> None:
        """Give a block back. KeyError if there is none at ``offset``."""
        start, extent = offset, self._used.pop(offset)
        position = bisect.bisect(self._free_starts, start)
        if position < len(self._free_starts) and self._free_starts[position] == start + extent:
            extent += self._forget_extent(start + extent)
        if position > 0:
            before = self._free_starts[position - 1]
            if before + self._free_sizes[before] == start:
                start, extent = before, extent + self._forget_extent(before)
        self._add_extent(start, extent)

    def trim(self) -> None:
        """Give the memory of free extents back to the system, but for what they share a page with."""
        for start, extent in self._free_sizes.items():
            first, last = -(-start // PAGE) * PAGE, (start + extent) // PAGE * PAGE
            if last > first and self._give_back(self._fd, first, last - first):
                self._holes = {at: size for at, size in self._holes.items() if not first <= at < last}
                self._holes[first] = last - first

    def _fill_holes(self, start: int, size: int) -> None:
        """Reserve the pages of a new block again. Raises SharedMemoryExhausted, without a block."""
        first, last = start // PAGE * PAGE, -(-(start + size) // PAGE) * PAGE
        for at, hole in list(self._holes.items()):
            begin, end = max(first, at), min(last, at + hole)
            if begin >= end:
                continue
            try:
                self._reserve(self._fd, begin, end - begin)
            except OSError as error:
                self.free(start)
                raise self._exhausted(size, end - begin, error) from None
            del self._holes[at]
            if at < begin:
                self._holes[at] = begin - at
            if end < at + hole:
                self._holes[end] = at + hole - end

    def _exhausted(self, wanted: int, missing: int, error: OSError) -> Exception:
        if error.errno not in (errno.ENOSPC, errno.ENOMEM):
            return error
        return SharedMemoryExhausted(
            "no shared memory for {} more bytes ({}; this arena uses {} and holds {}): free space in "
            "/dev/shm, raise memory_budget if there is one, or send smaller tensors".format(
                missing, error.strerror, self.in_use, self.committed
            ),
            wanted=wanted,
            in_use=self.in_use,
        )

    def _add_extent(self, start: int, extent: int) -> None:
        bisect.insort(self._free_starts, start)
        self._free_sizes[start] = extent

    def _forget_extent(self, start: int) -> int:
        del self._free_starts[bisect.bisect_left(self._free_starts, start)]
        return self._free_sizes.pop(start)

    def _grow(self, size: int) -> "tuple[int, int]":
        """A new extent at the end; a free one that ends there is extended."""
        start = self._committed
        if self._free_starts and self._free_starts[-1] + self._free_sizes[self._free_starts[-1]] == start:
            start = self._free_starts[-1]
        missing = size - (self._committed - start)
        step = min(max(-(-missing // PAGE) * PAGE, _GROWTH), self._size - self._committed)
        try:
            if step < missing:
                raise OSError(errno.ENOSPC, "its budget of {} bytes is used up".format(self._size))
            self._reserve(self._fd, self._committed, step)
        except OSError as error:
            raise self._exhausted(size, missing, error) from None
        if start != self._committed:
            self._forget_extent(start)
        self._committed += step
        return start, self._committed - start


def arena_over(fd: int, mapping: Mapping, huge: Optional[bool] = None) -> Arena:
    """An arena over the whole of a mapped segment, with ``huge`` pages: where the system offers them, unless told."""
    if not (huge_pages_offered() if huge is None else huge):
        return Arena(fd, mapping.size, reserve_pages)

    def reserve(fd: int, offset: int, size: int) -> None:
        if not mapping.populate_huge(offset, size):
            reserve_pages(fd, offset, size)  # what is missing, or the error

    return Arena(fd, mapping.size, reserve)
