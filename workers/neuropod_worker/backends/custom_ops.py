"""Custom ops: shared libraries that extend a framework, loaded before the model.

Each distinct file is loaded once per process, whatever the number of packages that bring it: frameworks die when
one operator is registered twice.
"""

import os
import platform
import sys
import threading
from typing import Any, Callable, Dict, Optional, Set, Tuple

from neuropod_worker.backends.backend import load_error
from neuropod_worker.errors import LoadError
from neuropod_worker.package.fingerprint import file_sha256
from neuropod_worker.package.package import Package

_lock = threading.Lock()
_loaded: Set[Tuple[str, str]] = set()
_first_copies: Dict[str, str] = {}

_ELF_MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_ELF_MACHINE_AT = 18  # two bytes of the header, in the file's own byte order
_OTHER_FORMATS = (
    (b"MZ", "Windows"),
    (b"\xcf\xfa\xed\xfe", "macOS"),
    (b"\xca\xfe\xba\xbe", "macOS"),
)
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


def load_ops(package: Package, framework: str, version: str, load_library: Callable[[str], Any]) -> None:
    """Load the package's ops in their order, with a framework's own function.

    Raises ``LoadError``, or ``PackageError`` where one is missing.
    """
    for path in package.custom_op_paths():
        with _lock:
            key = (framework, file_sha256(path))
            if key in _loaded:
                continue
            refuse_foreign(path)
            try:
                load_library(path)
            except Exception as error:  # the loader's, the library's or the framework's own
                message = (
                    "{} {} cannot load the custom op {}, which was built for another {}, or needs a library that "
                    "custom_ops should name before it"
                )
                # Newer torch hides what the dynamic linker said behind an error that says nothing.
                reason = error.__cause__ or error
                raise load_error(message.format(framework, version, path, framework), reason) from error
            _loaded.add(key)


def first_copy(path: str) -> str:
    """The path of the file of equal content that this process asked for first, while it exists."""
    content = file_sha256(path)
    with _lock:
        if not os.path.exists(_first_copies.get(content, "")):
            _first_copies[content] = path
        return _first_copies[content]


def refuse_foreign(path: str) -> None:
    """Raise ``LoadError`` for a library that was built for another kind of machine."""
    with open(path, "rb") as file:
        built_for = library_platform(file.read(_ELF_MACHINE_AT + 2))
    here = "{} {}".format(platform.system(), machine(platform.machine()))
    if built_for is not None and sys.platform == "linux" and built_for != here:
        message = "the custom op {} was built for {}, and this is {}: it must be built for this platform"
        raise LoadError(message.format(path, built_for, here))


def machine(name: str) -> str:
    """One name for each kind of processor, whatever the operating system calls it."""
    return _ALIASES.get(name.lower(), name.lower())


def library_platform(header: bytes) -> Optional[str]:
    """The platform that a library was built for, by its first bytes; ``None`` for what is none known."""
    if header[:4] == b"\x7fELF":
        order = "big" if header[5:6] == b"\2" else "little"
        number = int.from_bytes(header[_ELF_MACHINE_AT : _ELF_MACHINE_AT + 2], order)  # type: ignore[arg-type]
        return "Linux {}".format(_ELF_MACHINES.get(number, "machine {}".format(number)))
    return next((name for magic, name in _OTHER_FORMATS if header.startswith(magic)), None)
