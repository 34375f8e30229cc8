"""The errors of a search, in words: what was asked, what is here, what to do, by which command. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from neuropod_ope.environment.candidates import entries_in_range
from neuropod_ope.environment.catalog import Catalog
from neuropod_ope.environment.errors import NoMatchingEnvironment
from neuropod_ope.environment.interpreters import Interpreter
from neuropod_ope.environment.lockfile import Lock
from neuropod_ope.environment.requirement import EnvironmentPolicy, Requirement, default_cache_dir
from neuropod_ope.environment.resolve import NothingResolves

_ATTEMPT_LINES = 8
_NO_WHEELS = "building from source is disabled"
_OR_REGISTER = "or name an existing interpreter (environment=..., or --python at the command line)"


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


def nothing_fits(
    requirement: Requirement,
    lock: Lock | None,
    catalog: Catalog,
    interpreters: Sequence[Interpreter],
    why: str,
    here: str,
    command: str,
) -> NoMatchingEnvironment:
    """No interpreter on this machine can serve; ``here`` says why the running one cannot."""
    present = ", ".join(dict.fromkeys(one.version for one in interpreters)) or "none"
    fetch = f"{command} --python-downloads"
    could: str | None = None
    if requirement.platform == "python":
        named = f" and was locked for Python {lock.python}" if lock and lock.python else ""
        lack = f"it needs Python {requirement.version_range}{named}; on this machine: {present}"
        could = fetch
    elif requirement.platform not in catalog:
        lack = f"platform {requirement.platform!r} is unknown; known are python, {', '.join(catalog)}"
    elif entries := entries_in_range(requirement, catalog):
        needs = "; ".join(f"{one.requirement} needs Python {' or '.join(one.pythons)}" for one in entries)
        lack = f"{needs}; on this machine: {present}"
        could = fetch
    else:
        versions = ", ".join(one.version for one in catalog[requirement.platform].entries)
        lack = f"no version that is known to work lies in that range; known are {versions}"
    otherwise = "change the range," if requirement.platform in catalog else "correct the platform,"
    now_what = f"install a fitting Python, let uv fetch one: {could}," if could else otherwise
    return NoMatchingEnvironment(
        f"no environment fits {why}: {here}; {lack}. What to do: {now_what} {_OR_REGISTER}",
        platform=requirement.platform,
        version_range=requirement.version_range,
        command=could,
    )


def nothing_resolves(
    requirement: Requirement, why: str, command: str, failure: NothingResolves
) -> NoMatchingEnvironment:
    """Interpreters are here, and the packages cannot be had for any of them."""
    first_label, first_log = failure.attempts[0]
    tried = [f"  {first_label}:", *(f"    {line}" for line in first_log[:_ATTEMPT_LINES])]
    others = [label for label, _ in failure.attempts[1:]]
    if others:
        tried.append(f"  nor: {', '.join(others)}")
    now_what = f"correct the pins, {_OR_REGISTER}"
    if any(_NO_WHEELS in line for _, log in failure.attempts for line in log):
        command = f"{command} --allow-source NAME"
        now_what = f"allow the package that has no wheel to be built from source: {command}"
    return NoMatchingEnvironment(
        "\n".join([f"no environment can be built for {why}; tried:", *tried, f"What to do: {now_what}"]),
        platform=requirement.platform,
        version_range=requirement.version_range,
        command=command,
    )


def building_forbidden(lack: str, command: str, requirement: Requirement | None) -> NoMatchingEnvironment:
    return NoMatchingEnvironment(
        f'{lack}, and build="never" forbids it; run: {command}',
        platform=requirement.platform if requirement else None,
        version_range=requirement.version_range if requirement else None,
        command=command,
        lack=lack,
    )
