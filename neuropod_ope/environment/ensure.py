"""The way from a requirement to an environment: decide, look up, resolve, build."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from neuropod_ope.environment.build import (
    build_environment,
    build_support,
    environment_name,
    support_candidate,
    support_name,
)
from neuropod_ope.environment.errors import EnvironmentBuildError, NoMatchingEnvironment
from neuropod_ope.environment.explain import (
    build_command,
    building_forbidden,
    nothing_fits,
    what_to_build,
)
from neuropod_ope.environment.installed import Installation, this_interpreter
from neuropod_ope.environment.interpreters import Interpreter, ProbeError, named, package_folders
from neuropod_ope.environment.registry import Registry, without_dots
from neuropod_ope.environment.requirement import Environment, EnvironmentPolicy, Requirement
from neuropod_ope.environment.resolve import NothingResolves, remembered, resolve
from neuropod_ope.environment.search import Search
from neuropod_ope.environment.store import Store
from neuropod_ope.environment.uv import Uv
from neuropod_ope.environment.versions import check_range


def ensure_environment(
    requirement: Requirement, policy: EnvironmentPolicy, source: str | None = None, refresh: bool = False
) -> Environment:
    """The environment for a requirement; built if there is none and the policy allows it.

    ``source`` is the package that asks, for messages. ``refresh`` resolves anew what was resolved before.
    Raises NoMatchingEnvironment, EnvironmentBuildError or PackageError (RangeError: the range is no npm range).
    """
    check_range(requirement.version_range)
    why = f"{source} ({requirement})" if source else str(requirement)
    builder = _Builder(policy, why, build_command(policy, *what_to_build(requirement, source)), requirement)
    with _os_errors_translated(why, policy.cache_dir):
        here = this_interpreter().missing_for_a_worker(requirement)
        if here is None and sys.executable:
            return builder.of_this_interpreter()
        lacks = [here or "this process names no interpreter"]
        for path in Registry().interpreters():
            lack = builder.lack_of_registered(path, requirement)
            if lack is None:
                return Environment(path, (builder.support(builder.probed(path)),), "")
            lacks.append(lack)
        return builder.built(requirement, lacks, refresh)


def named_environment(python: str | os.PathLike[str], policy: EnvironmentPolicy) -> Environment:
    """An existing interpreter, or the folder of a virtualenv, as an environment; nothing in it is touched.

    Raises NoMatchingEnvironment or EnvironmentBuildError.
    """
    path = without_dots(_python_of(Path(python)))
    why = f"the interpreter {path}"
    builder = _Builder(policy, why, build_command(policy, "--python", str(path)))
    with _os_errors_translated(why, policy.cache_dir):
        interpreter = builder.probed(path)
        if builder.installation(path, interpreter).version_of("numpy") is None:
            raise NoMatchingEnvironment(
                f"{path} has no numpy, which every worker needs (one in PYTHONPATH or in --user does not count); "
                f"install it there: {shlex.join([str(path), '-m', 'pip', 'install', 'numpy'])}"
            )
        return Environment(path, (builder.support(interpreter),), "")


def _python_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    python = path / "bin/python"
    if not python.exists():
        raise NoMatchingEnvironment(f"{path} is a folder without bin/python: no virtualenv, and no interpreter")
    return python


@contextmanager
def _os_errors_translated(why: str, cache_dir: Path) -> Iterator[None]:
    # A full disk, a cache folder of somebody else, no uv.
    try:
        yield
    except OSError as error:
        if _concerns(error, cache_dir.absolute()):
            raise EnvironmentBuildError(
                f"the cache folder {cache_dir} cannot be used: {error}. Make it writable or name another one "
                "(NEUROPOD_OPE_CACHE, cache_dir=, or --cache-dir at the command line)"
            ) from error
        raise EnvironmentBuildError(f"cannot build the environment for {why}: {error}") from error


def _concerns(error: OSError, folder: Path) -> bool:
    if not isinstance(error.filename, str):
        return False
    place = Path(error.filename)
    return place.is_relative_to(folder) or folder.is_relative_to(place)


class _Builder:
    """Makes environments under one policy; ``why`` and ``command`` are for messages."""

    def __init__(
        self, policy: EnvironmentPolicy, why: str, command: str, requirement: Requirement | None = None
    ) -> None:
        self._policy = policy
        self._why = why
        self._command = command
        self._requirement = requirement
        self._store = Store(policy.cache_dir)
        self._uv = Uv(policy)

    def of_this_interpreter(self) -> Environment:
        path = Path(sys.executable)
        if this_interpreter().version_of("msgpack") is not None:
            return Environment(path, (), "")
        return Environment(path, (self.support(self.probed(path)),), "")

    def lack_of_registered(self, path: Path, requirement: Requirement) -> str | None:
        """None if a registered interpreter serves, else a sentence that says why not."""
        try:
            return self.installation(path, self.probed(path)).missing_for_a_worker(requirement)
        except NoMatchingEnvironment as error:
            return str(error)

    def installation(self, path: Path, interpreter: Interpreter) -> Installation:
        """What a worker of that interpreter finds."""
        try:
            folders = package_folders(path, self._store)
        except ProbeError as error:
            raise NoMatchingEnvironment(f"{path} cannot run a model: {error}") from error
        return Installation(str(path), interpreter.version, folders)

    def built(self, requirement: Requirement, lacks: Sequence[str], refresh: bool) -> Environment:
        search = Search(requirement, self._policy, self._uv, self._store)
        resolution = None if refresh else search.remembered()
        if resolution is None and search.could_find():
            self._check_may_build(f"the environment for {self._why} has not been resolved")
            resolution = search.resolved(refresh)
        if resolution is None:
            raise nothing_fits(requirement, search.findings(), self._why, lacks, self._command)
        support = self.support(resolution.interpreter)
        name = environment_name(resolution, self._uv)
        path = self._store.find("environments", name)
        if path is None:
            self._check_may_build(f"the environment for {self._why} ({resolution.label}) has not been built")
            path = build_environment(resolution, self._why, search.hashes, self._uv, self._store)
        return Environment(path / "bin/python", (support,), name)

    def probed(self, path: Path) -> Interpreter:
        try:
            interpreter = named(path, self._store)
        except ProbeError as error:
            raise NoMatchingEnvironment(f"{path} cannot run a model: {error}") from error
        if not interpreter.is_supported():
            raise NoMatchingEnvironment(f"{path} is Python {interpreter.version}; workers need 3.6 or later")
        return interpreter

    def support(self, interpreter: Interpreter) -> Path:
        """The overlay with what a worker needs beyond the model's own packages."""
        candidate = [support_candidate(interpreter)]
        resolution = remembered(candidate, self._uv, self._store)
        path = self._store.find("support", support_name(resolution)) if resolution else None
        if path is not None:
            return path
        self._check_may_build(f"the support packages for {self._why} have not been built")
        try:
            resolution = resolution or resolve(candidate, (), self._uv, self._store)
        except NothingResolves as error:
            lines = "\n".join(error.attempts[0].log)
            raise NoMatchingEnvironment(f"{candidate[0].label} cannot be installed:\n{lines}") from error
        return build_support(resolution, self._uv, self._store)

    def _check_may_build(self, lack: str) -> None:
        if self._policy.build == "never":
            raise building_forbidden(lack, self._command, self._requirement)
