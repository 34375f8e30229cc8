"""The values that pass between a package, the policy of a process and an environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple


def default_cache_dir() -> Path:
    """``$NEUROPOD_OPE_CACHE``, else the user's cache folder."""
    own = os.environ.get("NEUROPOD_OPE_CACHE")
    if own:
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neuropod_ope"


class EnvironmentPolicy(NamedTuple):
    """What a process allows: where to keep environments, and whether and how to build them.

    ``allow_source`` names packages that may be built from source; ``python_downloads`` lets uv fetch an
    interpreter when none on this machine fits.
    """

    cache_dir: Path
    build: Literal["if-missing", "never"] = "if-missing"
    offline: bool = False
    allow_source: tuple[str, ...] = ()
    python_downloads: bool = False


class Requirement(NamedTuple):
    """What a package declares.

    ``version_range`` is an npm range: of Python for platform ``python``, else of the platform's framework.
    ``lock`` is the text of ``0/requirements.lock`` (platform ``python`` only).
    """

    platform: str
    version_range: str
    lock: str | None

    def __str__(self) -> str:
        what = f"{'Python' if self.platform == 'python' else self.platform} {self.version_range}"
        return f"{what} with the pins of its requirements.lock" if self.lock else what


class Environment(NamedTuple):
    """An interpreter to start and folders to append to its ``sys.path``; ``name`` is "" if not built here."""

    python: Path
    support: tuple[Path, ...]
    name: str
