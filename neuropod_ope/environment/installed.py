"""Whether an installation, this interpreter's or a registered one's, has what a package declares.

Reads the metadata of what is installed; runs and imports nothing.
"""

from __future__ import annotations

import importlib.metadata
import platform
import site
import sys
from typing import NamedTuple

from neuropod_ope.environment.added_platforms import catalog_for
from neuropod_ope.environment.lockfile import read_lock
from neuropod_ope.environment.requirement import Requirement
from neuropod_ope.environment.versions import parse_version


class Installation(NamedTuple):
    """An interpreter's version and the folders in which it finds packages; ``name`` is for messages."""

    name: str
    python_version: str
    path: tuple[str, ...]

    def missing(self, requirement: Requirement) -> str | None:
        """None if it satisfies the requirement, else a sentence that says what is missing."""
        if requirement.platform == "python":
            version = self.python_version
            if not requirement.accepts(version):
                return f"{self.name} is Python {version}, and the package needs {requirement.version_range}"
            return self._missing_pin(requirement.lock) if requirement.lock else None
        known = catalog_for(requirement.platform, self.path).get(requirement.platform)
        if known is None:
            return f"{self.name} knows no platform {requirement.platform!r}"
        lack = f"{self.name} has no {known.distributions[0]}"
        for name in known.distributions:
            installed = self.version_of(name)
            if installed is not None:
                if requirement.accepts(installed):
                    return None
                lack = f"{self.name} has {name} {installed}, and the package needs {requirement.version_range}"
        return lack

    def missing_for_a_worker(self, requirement: Requirement) -> str | None:
        """As above for a worker, which needs numpy whatever the package says."""
        missing = self.missing(requirement)
        if missing is None and self.version_of("numpy") is None:
            how = "one in PYTHONPATH or in --user does not count"
            return f"{self.name} has no numpy that a worker would find: {how}"
        return missing

    def version_of(self, distribution: str) -> str | None:
        for found in importlib.metadata.distributions(name=distribution, path=list(self.path)):
            return found.version
        return None

    def _missing_pin(self, lock: str) -> str | None:
        minor = ".".join(map(str, parse_version(self.python_version).release[:2]))
        facts = {"python_version": minor, "python_full_version": self.python_version}
        for pin in read_lock(lock).requirements:
            if pin.marker is not None and not pin.marker.evaluate(facts):
                continue
            installed = self.version_of(pin.name)
            if installed is None:
                return f"{self.name} has no {pin.name}, and the package's lock asks for {pin}"
            if not pin.specifier.contains(installed, prereleases=True):
                return f"{self.name} has {pin.name} {installed}, and the package's lock asks for {pin}"
        return None


def this_process() -> Installation:
    """What a model in this process finds."""
    return Installation("this interpreter", platform.python_version(), tuple(sys.path))


def this_interpreter() -> Installation:
    """What a worker of this interpreter finds: nothing in PYTHONPATH or in the user's own folder."""
    return Installation("this interpreter", platform.python_version(), tuple(site.getsitepackages()))


def missing_in_this_interpreter(requirement: Requirement) -> str | None:
    """What this process lacks to run a model, as a sentence; None if it can."""
    return this_process().missing(requirement)
