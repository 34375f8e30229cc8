"""The interpreters that the user has registered: existing environments that serve models as they are.

One JSON file in the user's configuration folder, written by ``neuropod-ope env register``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from neuropod_ope.environment.errors import EnvironmentBuildError

_FILE = "interpreters.json"


def default_config_dir() -> Path:
    """``$NEUROPOD_OPE_CONFIG``, else the user's configuration folder."""
    own = os.environ.get("NEUROPOD_OPE_CONFIG")
    if own:
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "neuropod_ope"


def without_dots(python: Path) -> Path:
    """An absolute path without ``..``. A link to an interpreter is kept: where it leads is not the virtualenv."""
    path = python.absolute()
    return path.parent.resolve() / path.name if ".." in path.parts else path


class Registry:
    """Paths of interpreters, in the order in which they were registered."""

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (default_config_dir() if folder is None else folder) / _FILE

    def interpreters(self) -> list[Path]:
        """Raises EnvironmentBuildError if the file is there and cannot be understood."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        try:
            return [Path(one["path"]) for one in json.loads(text)["interpreters"]]
        except (ValueError, TypeError, LookupError) as error:
            example = '{"interpreters": [{"path": "/opt/conda/bin/python"}]}'
            raise EnvironmentBuildError(f"{self.path} cannot be read ({error}); write {example}") from error

    def add(self, python: Path) -> None:
        self._write([*(one for one in self.interpreters() if one != python), python])

    def remove(self, python: Path) -> bool:
        """Whether it was registered."""
        known = self.interpreters()
        self._write([one for one in known if one != python])
        return python in known

    def _write(self, interpreters: list[Path]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{_FILE}.{os.getpid()}")
        content = {"interpreters": [{"path": str(one)} for one in interpreters]}
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self.path)
