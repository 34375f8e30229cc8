"""``neuropod-ope inspect``: what a package declares and what would run it. Runs and builds nothing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from neuropod_ope.environment import (
    EnvironmentPolicy,
    NoMatchingEnvironment,
    Requirement,
    default_cache_dir,
    ensure_environment,
    missing_in_this_interpreter,
)
from neuropod_ope.environment.added_platforms import catalog_for
from neuropod_ope.environment.lockfile import read_lock
from neuropod_ope.platforms import check_platform_somewhere
from neuropod_worker.backends import check_platform
from neuropod_worker.errors import PackageError
from neuropod_worker.package import Package, open_package
from neuropod_worker.package.tensors_file import LEGACY_TEST_DATA, read_test_data
from neuropod_worker.problem.specs import TensorSpec

_LABEL_WIDTH = 16


def add_inspect_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = subparsers.add_parser("inspect", help="what a package declares, and what would run it")
    command.add_argument("package", help="a package: folder or zip file")
    command.add_argument("--cache-dir", type=Path, default=default_cache_dir(), help="default: %(default)s")
    command.set_defaults(run=_inspect)


def _inspect(arguments: argparse.Namespace) -> int:
    policy = EnvironmentPolicy(arguments.cache_dir.absolute(), build="never")
    package = open_package(arguments.package, str(policy.cache_dir))
    for label, text in (*_declared(package), *_what_runs_it(package, arguments.package, policy)):
        indented = text.replace("\n", "\n" + " " * _LABEL_WIDTH)
        print(f"{label:<{_LABEL_WIDTH}}{indented}")
    return 0


def _declared(package: Package) -> Iterator[tuple[str, str]]:
    yield "name", package.name
    yield "platform", package.platform
    yield "runs on", f"{_framework(package.platform)} {package.version_range}"
    yield "inputs", "\n".join(map(_spec_text, package.inputs)) or "none"
    yield "outputs", "\n".join(map(_spec_text, package.outputs)) or "none"
    yield "custom ops", "\n".join(package.custom_ops) or "none"
    if package.requirements_lock is not None:
        yield "pins", "\n".join(map(str, read_lock(package.requirements_lock).requirements)) or "none"
    yield "test data", _test_data_text(package)


def _what_runs_it(package: Package, source: str, policy: EnvironmentPolicy) -> Iterator[tuple[str, str]]:
    requirement = Requirement(package.platform, package.version_range, package.requirements_lock)
    try:
        missing = _missing_here(package, requirement)
        yield "in process", f"no: {missing}" if missing else f"yes, {_why_here(requirement)}"
        check_platform_somewhere(package)
        environment = ensure_environment(requirement, policy, source)
    except NoMatchingEnvironment as error:
        # That inspecting builds nothing is no policy of the user's.
        how = f"{error.lack}; run: {error.command}" if error.lack else error
        yield "out of process", f"not yet: {how}"
    except PackageError as error:
        yield "out of process", f"no: {error}"
    else:
        yield "out of process", f"yes, with {environment.python}"


def _missing_here(package: Package, requirement: Requirement) -> str | None:
    try:
        check_platform(package)
    except PackageError as error:
        return str(error)
    return missing_in_this_interpreter(requirement)


def _why_here(requirement: Requirement) -> str:
    if requirement.platform == "python" and requirement.lock is None:
        return "as far as it says: the package declares no requirements"
    return "this interpreter has what it needs"


def _framework(platform: str) -> str:
    known = catalog_for(platform).get(platform)
    return known.distributions[0] if known else {"python": "Python"}.get(platform, platform)


def _spec_text(spec: TensorSpec) -> str:
    if spec.shape is None:
        return f"{spec.name}: {spec.dtype}, any shape"
    dimensions = ", ".join("*" if size is None else str(size) for size in spec.shape)
    return f"{spec.name}: {spec.dtype} ({dimensions}{',' if len(spec.shape) == 1 else ''})"


def _test_data_text(package: Package) -> str:
    data = read_test_data(package.path)
    if data is not None:
        return "inputs and expected outputs" if data.outputs else "inputs"
    if os.path.exists(os.path.join(package.path, LEGACY_TEST_DATA)):
        return f"{LEGACY_TEST_DATA}, a pickle: not read, because that could run code"
    return "none"
