"""Candidates beyond the catalog: what an index offers of a framework; pure but for this machine's wheel tags.

Packages are taken as they were some weeks after the framework's release: the newest protobuf of today breaks the
TensorFlow of five years ago.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from neuropod_ope.environment.candidates import Candidate
from neuropod_ope.environment.catalog import Platform
from neuropod_ope.environment.interpreters import Interpreter, newest_of_each_minor
from neuropod_ope.environment.requirement import Requirement
from neuropod_ope.environment.versions import parse_version

_SETTLED_AFTER = timedelta(weeks=8)


class IndexFile(NamedTuple):
    """A wheel. ``uploaded`` is an ISO 8601 time, "" where the index does not say; so is ``requires_python``."""

    name: str
    requires_python: str
    uploaded: str


class _Wheel(NamedTuple):
    distribution: str
    version: Version
    tags: frozenset[Tag]
    requires_python: SpecifierSet
    uploaded: str

    def fits(self, interpreter: Interpreter) -> bool:
        release = parse_version(interpreter.version).base_version
        return self.requires_python.contains(release) and not self.tags.isdisjoint(_tags(interpreter.minor))


def offered_candidates(
    requirement: Requirement,
    platform: Platform,
    files: Mapping[str, Sequence[IndexFile]],
    interpreters: Sequence[Interpreter],
) -> list[Candidate]:
    """All offered versions in range that the catalog does not list, releases first, each newest first.

    Of one minor release only its newest is tried: what cannot be resolved for 1.8.1 cannot for 1.8.0.
    ``files`` are those of ``platform.offered``, ``interpreters`` come newest first.
    """
    listed = {Version(entry.version).public for entry in platform.entries}
    found: dict[tuple[bool, tuple[int, ...]], list[Candidate]] = {}
    for version, wheels in _by_version(files).items():
        if version.public in listed or not requirement.accepts(version.public):
            continue
        fitting = list(_candidates(wheels, interpreters, platform))
        if fitting:
            found.setdefault((version.is_prerelease, version.release[:2]), fitting)
    releases_first = sorted(found, key=lambda key: key[0])
    return [candidate for key in releases_first for candidate in found[key]]


def offered_versions(files: Mapping[str, Sequence[IndexFile]]) -> list[str]:
    """All that the index has: releases, then pre-releases, each newest first."""
    return [version.public for version in sorted(_by_version(files), key=lambda version: version.is_prerelease)]


def is_for_this_machine(file: IndexFile) -> bool:
    """Whether some Python could install the wheel here."""
    wheel = _wheel("", file)
    return wheel is not None and any(tag.platform in ("any", *platform_tags()) for tag in wheel.tags)


def _by_version(files: Mapping[str, Sequence[IndexFile]]) -> dict[Version, list[_Wheel]]:
    found: dict[Version, list[_Wheel]] = {}
    for distribution, names in files.items():
        for file in names:
            wheel = _wheel(distribution, file)
            if wheel is not None:
                found.setdefault(Version(wheel.version.public), []).append(wheel)
    return dict(sorted(found.items(), reverse=True))


def _wheel(distribution: str, file: IndexFile) -> _Wheel | None:
    try:
        _, version, _, tags = parse_wheel_filename(file.name)
        return _Wheel(distribution, version, tags, SpecifierSet(file.requires_python), file.uploaded)
    except ValueError:  # no wheel's name, no specifier: an index holds what somebody once uploaded
        return None


def _candidates(
    wheels: Sequence[_Wheel], interpreters: Sequence[Interpreter], platform: Platform
) -> Iterator[Candidate]:
    for interpreter in newest_of_each_minor(interpreters):
        # The distributions stand in the order in which the catalog prefers them.
        wheel = next((wheel for wheel in wheels if wheel.fits(interpreter)), None)
        if wheel is not None:
            yield _candidate(wheel, interpreter, platform)


def _candidate(wheel: _Wheel, interpreter: Interpreter, platform: Platform) -> Candidate:
    requirement = f"{wheel.distribution}=={wheel.version.public}"
    cut = _settled(wheel.uploaded) if wheel.uploaded else ""
    when = f"packages as of {cut}" if cut else "packages of today, since the index does not say when it was released"
    return Candidate(
        interpreter,
        (requirement, "numpy"),
        (),
        platform.source,
        f"{requirement} on Python {interpreter.version}, {when}",
        cut,
    )


def _settled(uploaded: str) -> str:
    day = datetime.fromisoformat(uploaded[: len("2026-01-01")]).date()
    return (day + _SETTLED_AFTER).isoformat()


@cache
def _tags(minor: str) -> frozenset[Tag]:
    major, _, number = minor.partition(".")
    version, platforms = (int(major), int(number)), list(platform_tags())
    tags = (*cpython_tags(version, platforms=platforms), *compatible_tags(version, f"cp{major}{number}", platforms))
    return frozenset(tags)
