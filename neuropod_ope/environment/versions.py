"""PEP 440 versions and npm ranges brought together; pure.

A package declares an npm range (``1.1.x``), frameworks have PEP 440 versions (``2.13.0+cpu``):

    release       cut or padded to three numbers        1.4 -> 1.4.0, 2.1.0.3 -> 2.1.0
    .postN +local dropped                               2.13.0+cpu -> 2.13.0
    aN bN rcN     a pre-release                         2.0.0rc1 -> 2.0.0-rc.1
    .devN         a pre-release                         2.22.0.dev3 -> 2.22.0-dev.3

``*`` and the other ranges take no pre-release unless they name one, or the user's settings allow it.
"""

from __future__ import annotations

import re

from packaging.version import InvalidVersion, Version
from semantic_version import NpmSpec
from semantic_version import Version as SemVer

from neuropod_worker.errors import PackageError

_SPACE_AFTER_OPERATOR = re.compile(r"(>=|<=|>|<|=|~|\^)\s+")
_BUILD = re.compile(r"\+[0-9A-Za-z.-]+")


class RangeError(PackageError):
    """A version range is not written as npm writes it."""


def parse_version(text: str) -> Version:
    """A PEP 440 version; Python's own ``3.14.0a1+`` (a build between two tags) counts as ``3.14.0a1``."""
    return Version(text.rstrip("+"))


def to_semver(version: str) -> str:
    """The semantic version that a PEP 440 version counts as. Raises ValueError for what is none."""
    try:
        parsed = parse_version(version)
    except InvalidVersion as error:
        raise ValueError(f"{version!r} is not a PEP 440 version") from error
    release = (*parsed.release, 0, 0)[:3]
    text = ".".join(map(str, release))
    if parsed.pre is not None:
        return f"{text}-{parsed.pre[0]}.{parsed.pre[1]}"
    if parsed.dev is not None:
        return f"{text}-dev.{parsed.dev}"
    return text


def in_range(version: str, version_range: str, prerelease: bool = False) -> bool:
    """Whether a PEP 440 version lies in an npm range. Raises RangeError when the range is none.

    ``prerelease``: one counts as the release that it precedes, too.
    """
    spec, semver = _parse_range(version_range), SemVer(to_semver(version))
    return bool(spec.match(semver) or (prerelease and spec.match(semver.truncate())))


def check_range(version_range: str) -> None:
    """Raise RangeError, with a spelling that works where one can be guessed, if this is no npm range."""
    _parse_range(version_range)


def _parse_range(text: str) -> NpmSpec:
    # npm allows blanks after an operator and ignores +build; the library does neither.
    spelled = _BUILD.sub("", _SPACE_AFTER_OPERATOR.sub(r"\1", " ".join(text.split())))
    try:
        return NpmSpec(spelled)
    except ValueError as error:
        message = f"{text!r} is not a version range as npm writes them (1.1.x, ^1.4, >=1.1 <1.5)"
        guess = " ".join(spelled.replace(",", " ").replace("==", "").replace("~=", "~").split())
        try:
            NpmSpec(guess)
        except ValueError:
            raise RangeError(message) from error
        raise RangeError(f"{message}; write {guess!r}") from error
