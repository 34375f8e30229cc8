"""The way from a requirement to an environment: decide, look up, resolve, build."""

import json
import os
import shlex
import sys
from pathlib import Path

from .build import build_environment, build_support, environment_name, support_candidate, support_name
from .candidates import Candidate, candidates, entries_in_range, python_wanted
from .catalog import load_catalog
from .errors import EnvironmentBuildError, NoMatchingEnvironment
from .here import installed_version, isolated_path, missing_from
from .interpreters import Interpreter, ProbeError, discover, registered
from .lockfile import Lock, read_lock
from .requirement import Environment, EnvironmentPolicy, Requirement, default_cache_dir
from .resolve import NothingResolves, Resolution, remembered, resolve
from .store import Store
from .uv import Uv
from .versions import check_range, parse_version

_ATTEMPT_LINES = 6


def ensure_environment(
    requirement: Requirement, policy: EnvironmentPolicy, source: str | None = None, refresh: bool = False
) -> Environment:
    """The environment for a requirement; built if there is none and the policy allows it.

    ``source`` is the package that asks, for messages. ``refresh`` resolves anew what was resolved before.
    Raises NoMatchingEnvironment, EnvironmentBuildError, RangeError (a ValueError) or PackageError.
    """
    check_range(requirement.version_range)
    return _Search(requirement, policy, source).environment(refresh)


def registered_environment(python: "str | os.PathLike[str]", policy: EnvironmentPolicy) -> Environment:
    """An existing interpreter as an environment; it is run once, nothing in it is touched."""
    path = Path(python).absolute()
    store = Store(policy.cache_dir)
    try:
        interpreter = registered(path, store)
    except ProbeError as error:
        raise NoMatchingEnvironment(f"{path} cannot be used as a model's interpreter: {error}") from error
    if not interpreter.is_supported():
        raise NoMatchingEnvironment(f"{path} is Python {interpreter.version}; workers run on 3.6 and later")
    command = _command(policy, "--python", str(path))
    support = _support(interpreter, policy, Uv(policy), store, f"the interpreter {path}", command)
    return Environment(path, (support,), "")


class _Search:
    """One call of ensure_environment."""

    def __init__(self, requirement: Requirement, policy: EnvironmentPolicy, source: str | None) -> None:
        self._requirement = requirement
        self._policy = policy
        self._lock: Lock | None = read_lock(requirement.lock) if requirement.lock else None
        self._store = Store(policy.cache_dir)
        self._uv = Uv(policy)
        self._why = f"{source} ({requirement})" if source else str(requirement)
        self._command = _command(policy, *_what_to_build(requirement, source))

    def environment(self, refresh: bool) -> Environment:
        here = missing_from(self._requirement, isolated_path())
        if here is None and sys.executable:
            has_msgpack = installed_version("msgpack", isolated_path()) is not None
            overlay = () if has_msgpack else (self._support(self._own()),)
            return Environment(Path(sys.executable), overlay, "")
        found = self._candidates(discover(self._store))
        if not found:
            # A shim that failed once may work by now.
            found = self._candidates(discover(self._store, retry_failed=True)) or self._download()
        if not found:
            raise self._nothing_fits(here or "this process has no interpreter of its own")
        resolution = None if refresh else remembered(found, self._uv, self._store)
        if resolution is None:
            self._check_may_build("has not been resolved")
            resolution = self._resolve(found)
        name = environment_name(resolution, self._uv)
        support = self._support(resolution.interpreter)
        path = self._store.find("environments", name)
        if path is None:
            self._check_may_build(f"({resolution.label}) has not been built")
            hashes = self._lock.hashes if self._lock else {}
            try:
                path = build_environment(resolution, self._why, hashes, self._uv, self._store)
            except OSError as error:
                raise EnvironmentBuildError(
                    f"cannot build the environment for {self._why}: {error}"
                ) from error
        return Environment(path / "bin/python", (support,), name)

    def _candidates(self, interpreters: list[Interpreter]) -> list[Candidate]:
        found = candidates(self._requirement, self._lock, load_catalog(), interpreters)
        allowed = self._policy.allow_source
        return [one._replace(source=tuple(dict.fromkeys((*one.source, *allowed)))) for one in found]

    def _download(self) -> list[Candidate]:
        if not self._policy.python_downloads or self._policy.offline or self._policy.build == "never":
            return []
        listed = self._uv.run(
            "python", "list", "--only-downloads", "--all-versions", "--output-format", "json"
        )
        fitting = [
            version
            for one in json.loads(listed.stdout)
            if one["implementation"] == "cpython" and one["variant"] == "default"
            for version, minor in [(one["version"], ".".join(one["version"].split(".")[:2]))]
            if python_wanted(self._requirement, self._lock, load_catalog(), version, minor)
        ]
        if not fitting:
            return []
        self._uv.run("python", "install", max(fitting, key=parse_version), show=True)
        return self._candidates(discover(self._store))

    def _resolve(self, found: list[Candidate]) -> Resolution:
        try:
            return resolve(found, self._uv, self._store)
        except NothingResolves as error:
            tried = "\n".join(
                "\n    ".join([f"  {label}:", *log[:_ATTEMPT_LINES]]) for label, log in error.attempts
            )
            raise NoMatchingEnvironment(
                f"no environment can be built for {self._why}; tried:\n{tried}\n"
                "A package that exists as source only must be allowed: "
                f"{self._command} --allow-source NAME",
                platform=self._requirement.platform,
                version_range=self._requirement.version_range,
                command=self._command,
            ) from error

    def _support(self, interpreter: Interpreter) -> Path:
        return _support(interpreter, self._policy, self._uv, self._store, self._why, self._command)

    def _own(self) -> Interpreter:
        return registered(Path(sys.executable), self._store)

    def _check_may_build(self, lack: str) -> None:
        lack = f"the environment for {self._why} {lack}"
        _check_may_build(self._policy, lack, self._command, self._requirement)

    def _nothing_fits(self, here: str) -> NoMatchingEnvironment:
        requirement, lock, catalog = self._requirement, self._lock, load_catalog()
        present = ", ".join(dict.fromkeys(one.version for one in discover(self._store))) or "none"
        if requirement.platform == "python":
            named = f"; its lock was made for Python {lock.python}" if lock and lock.python else ""
            could = f"no Python here lies in {requirement.version_range}{named}"
        elif requirement.platform not in catalog:
            could = f"platform {requirement.platform!r} is unknown; known are {', '.join(catalog)}"
        elif entries := entries_in_range(requirement, catalog):
            could = "; ".join(f"{one.requirement} needs Python {' or '.join(one.pythons)}" for one in entries)
        else:
            versions = ", ".join(one.version for one in catalog[requirement.platform].entries)
            could = f"no version that can be built lies in that range; there are {versions}"
        return NoMatchingEnvironment(
            f"no environment fits {self._why}: {here}. {could}. Pythons on this machine: {present}. "
            f"Install one that fits (uv can fetch it: {self._command} --python-downloads), "
            "or name an existing interpreter with environment=.",
            platform=requirement.platform,
            version_range=requirement.version_range,
            command=f"{self._command} --python-downloads",
        )


def _support(
    interpreter: Interpreter, policy: EnvironmentPolicy, uv: Uv, store: Store, why: str, command: str
) -> Path:
    candidate = [support_candidate(interpreter)]
    resolution = remembered(candidate, uv, store)
    path = store.find("support", support_name(resolution)) if resolution else None
    if path is None:
        _check_may_build(policy, f"the support packages for {why} have not been built", command)
        try:
            path = build_support(resolution or resolve(candidate, uv, store), uv, store)
        except NothingResolves as error:
            lines = "\n".join(error.attempts[0][1])
            raise NoMatchingEnvironment(f"{candidate[0].label} cannot be installed:\n{lines}") from error
    return path


def _check_may_build(
    policy: EnvironmentPolicy, lack: str, command: str, requirement: Requirement | None = None
) -> None:
    if policy.build == "never":
        raise NoMatchingEnvironment(
            f'{lack}, and build="never" forbids it; run: {command}',
            platform=requirement.platform if requirement else None,
            version_range=requirement.version_range if requirement else None,
            command=command,
        )


def _what_to_build(requirement: Requirement, source: str | None) -> tuple[str, ...]:
    if source is not None:
        return (source,)
    what = ("--platform", requirement.platform, "--range", requirement.version_range)
    return (*what, "--lock", "requirements.lock") if requirement.lock else what


def _command(policy: EnvironmentPolicy, *what: str) -> str:
    # The cache folder only where the command would not find it by itself.
    where = () if policy.cache_dir == default_cache_dir() else ("--cache-dir", str(policy.cache_dir))
    return shlex.join(["neuropod-ope", "env", "build", *what, *where])
