"""The values that pass between a package, the policy of a process and an environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

from neuropod_ope.environment.versions import in_range


def default_cache_dir() -> Path:
    """``$NEUROPOD_OPE_CACHE``, else the user's cache folder."""
    own = os.environ.get("NEUROPOD_OPE_CACHE")
    if own:
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neuropod_ope"


class Requirement(NamedTuple):
    """What a package declares.

    ``version_range`` is an npm range: of Python for platform ``python``, else of the platform's framework.
    ``lock`` is the text of ``0/requirements.lock`` (platform ``python`` only). ``prerelease``: a pre-release
    counts as well, as the release that it precedes; that is the user's setting, a package names one in its range.
    """

    platform: str
    version_range: str
    lock: str | None
    prerelease: bool = False

    def accepts(self, version: str) -> bool:
        """Whether a PEP 440 version lies in the range. Raises RangeError when the range is none."""
        return in_range(version, self.version_range, self.prerelease)

    def __str__(self) -> str:
        what = f"{'Python' if self.platform == 'python' else self.platform} {self.version_range}"
        what += " or a pre-release" if self.prerelease else ""
        return f"{what} with the pins of its requirements.lock" if self.lock else what


class EnvironmentPolicy(NamedTuple):
    """What a process allows: where to keep environments, and whether and how to build them.

    ``allow_source`` names packages that may be built from source; ``python_downloads`` lets uv fetch an
    interpreter when none on this machine fits. ``prerelease`` names platforms of which pre-releases count.
    """

    cache_dir: Path
    build: Literal["if-missing", "never"] = "if-missing"
    offline: bool = False
    allow_source: tuple[str, ...] = ()
    python_downloads: bool = False
    prerelease: tuple[str, ...] = ()

    def requirement(self, platform: str, version_range: str, lock: str | None) -> Requirement:
        """What a package declares, as this policy reads it."""
        return Requirement(platform, version_range, lock, platform in self.prerelease)


class Environment(NamedTuple):
    """An interpreter to start and folders to append to its ``sys.path``; ``name`` is "" if not built here."""

    python: Path
    support: tuple[Path, ...]
    name: str
