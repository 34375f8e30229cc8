"""Kinds of shared segment. A segment is a descriptor without a name, with its full virtual size and no pages.

Expects to run on the client's side, which makes all segments; a worker only maps descriptors that it was sent.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable

import posix_ipc

_MFD = 0x0001 | 0x0002  # CLOEXEC, ALLOW_SEALING
_F_ADD_SEALS = 1033
_SEALS = 0x0001 | 0x0002 | 0x0004  # SEAL, SHRINK, GROW


def posix_segment(size: int) -> int:
    """A POSIX shared-memory object, unlinked at once. The portable kind; lives in /dev/shm on Linux.

    A hostile peer can truncate it and so kill this process by SIGBUS.
    """
    while True:
        try:
            # Made empty: should a SIGKILL fall between the two calls, what stays is a name and no memory.
            shared = posix_ipc.SharedMemory("/neuropod_ope-" + secrets.token_hex(8), posix_ipc.O_CREX)
        except posix_ipc.ExistentialError:
            continue
        shared.unlink()
        os.ftruncate(shared.fd, size)
        fd: int = shared.fd
        os.set_inheritable(fd, False)
        return fd


def memfd_segment(size: int) -> int:
    """A memfd (Linux), sealed against truncation: independent of /dev/shm, and safe from a hostile peer."""
    fd = os.memfd_create("neuropod_ope", _MFD)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
    return fd


SEGMENT_KINDS: dict[str, Callable[[int], int]] = {"posix": posix_segment, "memfd": memfd_segment}
