"""Kinds of shared segment. A segment is a descriptor without a name, with its full virtual size and no pages.

Only the client makes segments; a worker maps the descriptors that it was sent.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable

import posix_ipc

_SHARED_MEMORY = "/dev/shm"  # where Linux keeps POSIX shared memory
# The kernel or the file system does not know O_TMPFILE, or there is no such folder.
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.ENOTDIR)
_SMALL = 2**30  # bytes of a /dev/shm in which a few large tensors may well be all there is room for
_MFD = 0x0001 | 0x0002  # CLOEXEC, ALLOW_SEALING
_F_ADD_SEALS = 1033
_SEALS = 0x0001 | 0x0002 | 0x0004  # SEAL, SHRINK, GROW


def posix_segment(size: int) -> int:
    """A POSIX shared-memory object that never has a name, where the kernel can make one (Linux).

    A hostile peer can truncate it and so kill this process by SIGBUS.
    """
    try:
        fd = os.open(_SHARED_MEMORY, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except AttributeError:
        return named_segment(size)
    except OSError as error:
        if error.errno not in _NO_TMPFILE:
            raise
        return named_segment(size)
    os.ftruncate(fd, size)
    return fd


def named_segment(size: int) -> int:
    """The portable twin: made under a name, through posix_ipc, and unlinked at once.

    Made empty: should a SIGKILL fall between the two, what stays is a name and no memory.
    """
    while True:
        try:
            shared = posix_ipc.SharedMemory("/neuropod_ope-" + secrets.token_hex(8), posix_ipc.O_CREX)
        except posix_ipc.ExistentialError:
            continue
        shared.unlink()
        fd: int = shared.fd
        os.set_inheritable(fd, False)
        os.ftruncate(fd, size)
        return fd


def memfd_segment(size: int) -> int:
    """A memfd (Linux), sealed against truncation: independent of /dev/shm, and safe from a hostile peer."""
    fd = os.memfd_create("neuropod_ope", _MFD)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
    return fd


def automatic_segment(size: int) -> int:
    """A memfd where /dev/shm is as small as containers have it by default (64 MB), else a POSIX object."""
    if hasattr(os, "memfd_create"):
        try:
            shared_memory = os.statvfs(_SHARED_MEMORY)
        except OSError:
            return memfd_segment(size)
        if shared_memory.f_blocks * shared_memory.f_frsize < _SMALL:
            return memfd_segment(size)
    return posix_segment(size)


SEGMENT_KINDS: dict[str, Callable[[int], int]] = {
    "auto": automatic_segment,
    "posix": posix_segment,
    "named": named_segment,
    "memfd": memfd_segment,
}
