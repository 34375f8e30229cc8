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
    """Name and version of the C library: the layout of a ``sem_t`` is its private affair."""
    return " ".join(platform.libc_ver()) + " " + platform.machine()


def raise_errno(what: str) -> None:
    """Raise the OSError that the last libc call left."""
    number = ctypes.get_errno()
    raise OSError(number, "{}: {}".format(what, os.strerror(number)))
