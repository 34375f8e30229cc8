"""Reading ``0/requirements.lock``: pins written by pip-compile, uv or a freeze; no I/O.

Gives requirements, their hashes and the Python that the header names. Index options inside a lock are
dropped with a warning: which index to trust is the user's decision, not the package author's.
"""

from __future__ import annotations

import logging
import re
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from neuropod_worker.errors import PackageError
from neuropod_worker.package.redaction import without_url_credentials

_log = logging.getLogger("neuropod_ope.environment")

_HEADER_PYTHON = (
    re.compile(r"\bwith python (\d+\.\d+)", re.IGNORECASE),
    re.compile(r"--python-version[= ](\d+\.\d+)"),
    re.compile(r"(?:--python|-p)[= ](?:python)?(\d+\.\d+)\b"),
)
_HASH = re.compile(r"\s--hash[= ](\S+)")
_COMMENT = re.compile(r"(^|\s)#.*$")
# These would pull in something that is not in the package, so that ignoring them would change it.
_UNREADABLE = ("-r", "--requirement", "-c", "--constraint", "-e", "--editable")


class Lock(NamedTuple):
    python: str | None
    requirements: tuple[Requirement, ...]
    hashes: dict[str, tuple[str, ...]]

    def names(self) -> frozenset[str]:
        return frozenset(canonicalize_name(requirement.name) for requirement in self.requirements)


def read_lock(text: str) -> Lock:
    """Parse a lock. Raises PackageError with the line that cannot be used."""
    requirements: list[Requirement] = []
    hashes: dict[str, tuple[str, ...]] = {}
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = _COMMENT.sub("", line).strip()
        if not line:
            continue
        if line.startswith("-"):
            _check_option(line)
            continue
        requirement = _read_requirement(_HASH.sub("", line))
        requirements.append(requirement)
        found = tuple(_HASH.findall(line))
        if found:
            hashes[canonicalize_name(requirement.name)] = found
    return Lock(_header_python(text), tuple(requirements), hashes)


def _header_python(text: str) -> str | None:
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            return None
        for pattern in _HEADER_PYTHON:
            match = pattern.search(line)
            if match:
                return match.group(1)
    return None


def _check_option(line: str) -> None:
    option = re.split(r"[= ]", line, maxsplit=1)[0]
    shown = without_url_credentials(line)
    if option in _UNREADABLE:
        raise PackageError(f"requirements.lock: {shown!r} names something outside the package; pin it instead")
    _log.warning("requirements.lock: option %r is ignored; indexes are taken from your own pip or uv settings", shown)


def _read_requirement(line: str) -> Requirement:
    shown = without_url_credentials(line)
    try:
        requirement = Requirement(line)
    except ValueError:  # whose text would quote the line with its credentials
        raise PackageError(f"requirements.lock: {shown!r} is no requirement such as numpy==1.16.6") from None
    if requirement.url:
        raise PackageError(
            f"requirements.lock: {shown!r} names a place to download from; pin a "
            "version instead, and name the index in your own pip or uv settings"
        )
    return requirement
