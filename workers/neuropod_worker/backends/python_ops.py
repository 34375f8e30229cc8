"""Custom ops of platform ``python``: modules that the package's code imports from its ``ops`` folder."""

import importlib.util
import os
import platform
import re
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from inspect import getmodulename
from typing import Optional

from neuropod_worker.backends.code_scope import hide_lingering
from neuropod_worker.backends.custom_ops import refuse_foreign
from neuropod_worker.errors import LoadError
from neuropod_worker.package.package import Package

# ``op.cpython-36m-x86_64-linux-gnu.so``; on other systems ``op.cp36-win_amd64.pyd``, ``op.pypy38-pp73-....so``.
_TAG = re.compile(r"\.((?:cpython-|cp|pypy)\d[^.]*)\.(?:so|pyd)$")


def check_python_ops(package: Package) -> None:
    """Raise ``LoadError`` for an op that this interpreter cannot import, or could import without the package.

    Raises ``PackageError`` where one is missing.
    """
    hide_lingering()  # another package may well bring the same op
    for path in package.custom_op_paths():
        refuse_foreign(path)
        _refuse_other_abi(path)
        name = getmodulename(path)
        # An op whose name means something already would be one module or the other, depending on the path.
        if name and name.isidentifier() and (name in sys.modules or importlib.util.find_spec(name) is not None):
            message = "custom op {!r} cannot be loaded: a module of that name is importable already"
            raise LoadError(message.format(os.path.basename(path)))


def broken_op(package: Package, error: BaseException) -> Optional[str]:
    """What failed, in words, if ``error`` says that one of the package's ops cannot be loaded; else ``None``."""
    if isinstance(error, ImportError) and error.path:  # of a file that is there
        for path in package.custom_op_paths():
            if getmodulename(path) == error.name and path.endswith(tuple(EXTENSION_SUFFIXES)):
                message = (
                    "the custom op {} cannot be loaded; it was built for other versions than those here, or needs a "
                    "library that is missing"
                )
                return message.format(path)
    return None


def _refuse_other_abi(path: str) -> None:
    tag = _TAG.search(path)
    if tag and not path.endswith(tuple(suffix for suffix in EXTENSION_SUFFIXES if suffix.count(".") > 1)):
        here = "{} (Python {})".format(EXTENSION_SUFFIXES[0].split(".")[1], platform.python_version())
        message = "the custom op {} was built for {}, and this is {}: it must be built for this Python"
        raise LoadError(message.format(path, tag.group(1), here))
