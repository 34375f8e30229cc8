"""The errors of a search, in words: what was asked, what is here, what to do, by which command. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from neuropod_ope.environment.errors import NoMatchingEnvironment
from neuropod_ope.environment.requirement import EnvironmentPolicy, Requirement, default_cache_dir
from neuropod_ope.environment.resolve import Attempt

_ATTEMPT_LINES = 8
_LINE_CHARS = 240
_VERSIONS_SHOWN = 6
# uv names the packages of which it found no wheel.
_NO_WHEELS = re.compile(r"Wheels are required for `([^`]+)` because building from source is disabled")
_OR_REGISTER = (
    "or name an existing interpreter (environment=..., or --python at the command line; for all models that it "
    "satisfies: neuropod-ope env register PATH)"
)


def build_command(policy: EnvironmentPolicy, *what: str) -> str:
    """The shell command that builds something; with the cache folder if that is not the usual one."""
    where = () if policy.cache_dir == default_cache_dir() else ("--cache-dir", str(policy.cache_dir))
    return shlex.join(["neuropod-ope", "env", "build", *what, *where])


def what_to_build(requirement: Requirement, source: str | None) -> tuple[str, ...]:
    """The arguments of that command for a package, or for a requirement of unknown origin."""
    if source is not None:
        return (source,)
    what = ("--platform", requirement.platform, "--range", requirement.version_range)
    return (*what, "--lock", "requirements.lock") if requirement.lock else what


class Findings(NamedTuple):
    """What a search saw. ``absent`` are framework versions in range with the Pythons that they need and lack."""

    pythons: tuple[str, ...]
    locked_python: str | None
    absent: tuple[tuple[str, tuple[str, ...]], ...]
    known: tuple[str, ...]
    offered: tuple[str, ...]
    prerelease_would_do: bool
    attempts: tuple[Attempt, ...]
    platforms: tuple[str, ...]


def nothing_fits(
    requirement: Requirement, found: Findings, why: str, lacks: Sequence[str], command: str
) -> NoMatchingEnvironment:
    """Nothing on this machine serves and nothing can be built.

    ``lacks`` say why this interpreter cannot, and each that is registered.
    """
    now_what, command_or_none = _what_to_do(requirement, found, command)
    lines = [f"no environment fits {why}; {lacks[0]}", *(f"  registered: {lack}" for lack in lacks[1:])]
    lines += _seen(requirement, found)
    lines.append(f"What to do: {now_what}, {_OR_REGISTER}")
    return NoMatchingEnvironment(
        "\n".join(lines),
        platform=requirement.platform,
        version_range=requirement.version_range,
        command=command_or_none,
    )


def _seen(requirement: Requirement, found: Findings) -> Iterator[str]:
    if requirement.platform != "python" and requirement.platform not in found.platforms:
        yield f"  platform {requirement.platform!r} is unknown; known are python, {', '.join(found.platforms)}"
        return
    if found.locked_python:
        yield f"  locked for Python {found.locked_python}"
    yield f"  Pythons on this machine: {', '.join(found.pythons) or 'none'}"
    for what, pythons in found.absent:
        yield f"  {what} would need Python {' or '.join(pythons)}"
    if found.known and not found.absent:
        yield f"  versions that are known to work: {', '.join(found.known)}"
    if found.offered:
        yield f"  versions that the index offers: {_some(found.offered)}"
    if found.attempts:
        # The first is the one that should have worked; of the others their cause, once for all that have the same.
        first, *others = found.attempts
        yield f"  tried {first.label}:"
        yield from (f"    {line[:_LINE_CHARS]}" for line in first.log[:_ATTEMPT_LINES])
        by_cause: dict[tuple[str, ...], list[str]] = {first.log[1:2]: []}
        for label, log in others:
            by_cause.setdefault(log[1:2] or log, []).append(label)
        for cause, labels in by_cause.items():
            if labels:
                yield f"  tried {', '.join(labels)}: {'the same' if cause == first.log[1:2] else ''}".rstrip()
                yield from (f"    {line[:_LINE_CHARS]}" for line in cause if cause != first.log[1:2])


def _what_to_do(requirement: Requirement, found: Findings, command: str) -> tuple[str, str | None]:
    without_wheels = dict.fromkeys(name for _, log in found.attempts for name in _NO_WHEELS.findall("\n".join(log)))
    if without_wheels:
        command = " ".join([command, *(f"--allow-source {name}" for name in without_wheels)])
        return f"allow the package that has no wheel to be built from source: {command}", command
    if found.attempts:
        return "correct the pins" if requirement.lock else "change the range", command
    if requirement.platform == "python" or found.absent:
        command = f"{command} --python-downloads"
        return f"install a fitting Python, let uv fetch one: {command}", command
    if found.prerelease_would_do:
        allow = f"prerelease=[{requirement.platform!r}]"
        command = f"{command} --prerelease"
        return f"allow pre-releases ({allow}, or at the command line: {command})", command
    if requirement.platform in found.platforms:
        return "change the range", None
    return "correct the platform", None


def _some(versions: Sequence[str]) -> str:
    if len(versions) <= _VERSIONS_SHOWN:
        return ", ".join(versions)
    return f"{', '.join(versions[:_VERSIONS_SHOWN])}, … {versions[-1]} ({len(versions)} in all)"


def building_forbidden(lack: str, command: str, requirement: Requirement | None) -> NoMatchingEnvironment:
    return NoMatchingEnvironment(
        f'{lack}, and build="never" forbids it; run: {command}',
        platform=requirement.platform if requirement else None,
        version_range=requirement.version_range if requirement else None,
        command=command,
        lack=lack,
    )
