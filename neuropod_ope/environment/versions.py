"""PEP 440 versions and npm ranges brought together; pure.

A package declares an npm range (``1.1.x``), frameworks have PEP 440 versions (``2.13.0+cpu``). What counts as what
is in docs/environments.md, "Ranges and versions".
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache

import nodesemver
from packaging.version import InvalidVersion, Version

from neuropod_worker.errors import PackageError

# What pip's operators mean in npm's words; npm reads some of them as well, and differently.
_PIPS = {",": " ", "===": "", "==": "", "~=": "~"}


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
    accepted, semver = _parse_range(version_range), to_semver(version)
    return bool(accepted.test(semver) or (prerelease and accepted.test(semver.partition("-")[0])))


def check_range(version_range: str) -> None:
    """Raise RangeError, with a spelling that works where one can be guessed, if this is no npm range."""
    _parse_range(version_range)


@cache
def _parse_range(text: str) -> nodesemver.Range:
    guess = text
    for operator, npms in _PIPS.items():
        guess = guess.replace(operator, npms)
    if guess == text:
        with suppress(ValueError):
            return nodesemver.make_range(text, loose=False)
    message = f"{text!r} is not a version range as npm writes them (1.1.x, ^1.4, >=1.1 <1.5)"
    guess = " ".join(guess.split())
    if nodesemver.valid_range(guess, loose=False) is not None:
        message += f"; write {guess!r}"
    raise RangeError(message)
