"""What users give the packagers and the reader, checked before anything is touched. Pure.

Every function gives the checked value back or raises ``PackageError``; ``what`` names the argument in it.
"""

import os
import re
from typing import Any, Iterable, Mapping, Sequence, Tuple

from neuropod_worker.errors import PackageError

_NUMBER = r"(?:[0-9]+|[xX*])"
_VERSION = r"v?{0}(?:\.{0}){{0,2}}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?".format(_NUMBER)
_COMPARATOR = r"(?:>=|<=|>|<|=|~|\^)?\s*" + _VERSION
_ALTERNATIVE = re.compile(r"\s*(?:{0}(?:\s+(?:-\s+)?{0})*)?\s*$".format(_COMPARATOR))


def listed(what: str, value: Any) -> Tuple[Any, ...]:
    """A list, tuple, generator or the like as a tuple; no string, which would be a list of its letters."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise PackageError("{} must be a list, not {!r}".format(what, value))
    return tuple(value)


def text(what: str, value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise PackageError("{} must be a string that is not empty, not {!r}".format(what, value))
    return value


def path_text(what: str, value: Any) -> str:
    """A path, ``str`` or ``os.PathLike``, as a string."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str) or not path or "\0" in path:
        raise PackageError("{} must be a path, a str or a Path that is not empty, not {!r}".format(what, value))
    return path


def dicts_with(what: str, value: Any, keys: Sequence[str]) -> Tuple[Mapping[str, Any], ...]:
    """A list of dicts that have all of the keys."""
    items = listed(what, value)
    for item in items:
        if not isinstance(item, Mapping):
            raise PackageError("{} must be a list of dicts, not of {!r}".format(what, item))
        missing = [key for key in keys if key not in item]
        if missing:
            raise PackageError("an item of {} has no {!r}: {!r}".format(what, missing[0], dict(item)))
    return items


def version_range(what: str, value: Any) -> str:
    """A string that looks like an npm range. Who looks for an environment reads it strictly."""
    if not isinstance(value, str) or not all(map(_ALTERNATIVE.match, value.split("||"))):
        message = "{} must be a version range as npm writes them (1.1.x, ^1.4, >=1.1 <1.5), not {!r}"
        raise PackageError(message.format(what, value))
    return value
