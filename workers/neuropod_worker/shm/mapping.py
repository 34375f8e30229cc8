"""A shared mapping of a file descriptor.

Python's ``mmap`` would keep a duplicate of the descriptor open for as long as a view lives, three for every
worker; this one needs none. Memory is unmapped when the last object that refers to the mapping goes, so views
stay valid after everything else is closed.
"""

import ctypes
import mmap

from neuropod_worker.shm.libc import raise_errno, releasing_gil

_mmap = releasing_gil["mmap"]
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
]
_munmap = releasing_gil["munmap"]
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_madvise = releasing_gil["madvise"]
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_HUGEPAGE, _POPULATE_WRITE = 14, 23  # the second since Linux 5.14
_MAP_FAILED = ctypes.c_void_p(-1).value


def huge_pages_offered(setting: str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled") -> bool:
    """Whether this system makes huge pages of shared memory for who asks (Linux; most leave it off)."""
    try:
        with open(setting) as file:
            text = file.read()
    except OSError:
        return False
    return any(offer in text for offer in ("[always]", "[within_size]", "[advise]"))


class Mapping:
    """``size`` bytes of ``fd`` from its start, shared. The descriptor may be closed afterwards."""

    def __init__(self, fd: int, size: int, writable: bool = True) -> None:
        access = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
        address = _mmap(None, size, access, mmap.MAP_SHARED, fd, 0)
        if address == _MAP_FAILED:
            raise_errno("cannot map {} bytes of shared memory".format(size))
        self.address: int = address
        self.size = size
        self.writable = writable

    def populate_huge(self, offset: int, size: int) -> bool:
        """Have a range filled with huge pages where the kernel can. False: not all of it has pages yet.

        Only touching memory through an advised mapping gives huge pages; ``posix_fallocate`` gives small ones.
        """
        _madvise(self.address, self.size, _HUGEPAGE)
        return not _madvise(self.address + offset, size, _POPULATE_WRITE)

    def buffer(self, offset: int, size: int) -> memoryview:
        """A view of bytes, for those who may write; it keeps the mapping alive."""
        array = (ctypes.c_char * size).from_address(self.address + offset)
        array._mapping = self  # type: ignore[attr-defined]
        return memoryview(array).cast("B")

    def __del__(self, unmap: object = _munmap) -> None:  # bound early: module globals go first at exit
        if hasattr(self, "address"):
            unmap(self.address, self.size)  # type: ignore[operator]
