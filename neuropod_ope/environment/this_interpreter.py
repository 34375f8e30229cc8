"""Whether this very interpreter has what a package declares."""

from __future__ import annotations

import importlib.metadata
import platform
import site
import sys
from collections.abc import Sequence

from neuropod_ope.environment.added_platforms import catalog_for
from neuropod_ope.environment.lockfile import read_lock
from neuropod_ope.environment.requirement import Requirement


def satisfied_by_this_interpreter(requirement: Requirement) -> str | None:
    """None if it does, else a sentence that says what is missing."""
    return missing_from(requirement, sys.path)


def isolated_path() -> list[str]:
    """Where a worker of this interpreter finds packages: not in PYTHONPATH, not in the user's own folder."""
    return site.getsitepackages()


def missing_for_a_worker(requirement: Requirement, path: Sequence[str]) -> str | None:
    """As above for a worker, which starts with ``-I`` and finds packages in ``path`` (an `isolated_path()`) only."""
    missing = missing_from(requirement, path)
    if missing is None and installed_version("numpy", path) is None:
        return "this interpreter has no numpy that a worker would find: one in PYTHONPATH or in --user does not count"
    return missing


def missing_from(requirement: Requirement, path: Sequence[str]) -> str | None:
    """As above, with the installed packages looked up in ``path``."""
    if requirement.platform == "python":
        version = platform.python_version()
        if not requirement.accepts(version):
            return f"this interpreter is Python {version}, and the package needs {requirement.version_range}"
        return _missing_pin(requirement.lock, path) if requirement.lock else None
    known = catalog_for(requirement.platform).get(requirement.platform)
    if known is None:
        return f"this interpreter knows no platform {requirement.platform!r}"
    lack = f"this interpreter has no {known.distributions[0]}"
    for name in known.distributions:
        installed = installed_version(name, path)
        if installed is not None:
            if requirement.accepts(installed):
                return None
            lack = f"this interpreter has {name} {installed}, and the package needs {requirement.version_range}"
    return lack


def installed_version(name: str, path: Sequence[str]) -> str | None:
    for distribution in importlib.metadata.distributions(name=name, path=list(path)):
        return distribution.version
    return None


def _missing_pin(lock: str, path: Sequence[str]) -> str | None:
    for pin in read_lock(lock).requirements:
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        installed = installed_version(pin.name, path)
        if installed is None:
            return f"this interpreter has no {pin.name}, and the package's lock asks for {pin}"
        if not pin.specifier.contains(installed, prereleases=True):
            return f"this interpreter has {pin.name} {installed}, and the package's lock asks for {pin}"
    return None
