"""The C library, bound twice.

``keeping_gil`` holds the interpreter lock during a call: right for calls that return at once, because
releasing the lock invites every busy Python thread in and costs milliseconds. ``releasing_gil`` lets other
threads run: right for calls that may block. The functions are made afresh here, so that argument types set by
other users of ctypes on their copies of libc do not reach ours.
"""

import ctypes
import os
import platform
from typing import Any

keeping_gil: Any = ctypes.PyDLL(None, use_errno=True)
releasing_gil: Any = ctypes.CDLL(None, use_errno=True)


def libc_name() -> str:
    """Name and version of the running C library: the layout of a ``sem_t`` is its private affair."""
    try:
        # Not platform.libc_ver(): before Python 3.8 it gives the newest symbol version that the binary uses.
        version = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        version = None
    return "{} {}".format(version or platform.libc_ver()[0] or platform.system(), platform.machine())


def raise_errno(what: str) -> None:
    """Raise the OSError that the last libc call left."""
    number = ctypes.get_errno()
    raise OSError(number, "{}: {}".format(what, os.strerror(number)))
