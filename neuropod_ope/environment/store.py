"""The cache folder: where environments lie, who may build one, what is swept and pruned.

    environments/NAME   virtualenvs            support/NAME   overlays
    staging/NAME        being built            locks/NAME     flock'ed by the builder
    resolutions/KEY     what was resolved      interpreters/, named/, paths/   what probing Pythons gave
    listings/KEY        what indexes offer

A folder under its final name is complete: it was staged, then renamed. A lock dies with its holders (the
builder and the uv that it runs, which inherits the descriptor), so a staging folder whose lock is free was
abandoned, and the next use removes it. A cache that cannot be written to still serves what it holds.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

_log = logging.getLogger("neuropod_ope.environment")
_FACTS = "neuropod-environment.json"
_NAME_CHARS = 24  # of the 64 of a SHA-256 in hex

Kind = Literal["environments", "support"]


def content_name(facts: Any) -> str:
    """The name of something by the hash of what it is made from."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:_NAME_CHARS]


class StoredEnvironment(NamedTuple):
    name: str
    path: Path
    facts: dict[str, Any]
    last_used: float


class Store:
    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def ensure(self, kind: Kind, name: str, facts: dict[str, Any], build: Callable[[Path, int], None]) -> Path:
        """The folder of that name; ``build(folder, lock_fd)`` fills a staged one if there is none.

        Of several processes or threads that ask at once one builds, the others wait for it. When ``build``
        raises, nothing is left. Children of ``build`` should inherit ``lock_fd``: it then stays locked for
        as long as anybody writes into the folder.
        """
        self.sweep()
        final = self.root / kind / name
        if self.find(kind, name) is not None:
            return final
        with self._locked(name) as lock_fd:
            if self.find(kind, name) is not None:
                return final
            staged = self.root / "staging" / name
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(parents=True)
            try:
                build(staged, lock_fd)
                (staged / _FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
                final.parent.mkdir(parents=True, exist_ok=True)
                # What lies there can only be an environment whose interpreter is gone.
                shutil.rmtree(final, ignore_errors=True)
                staged.rename(final)
            except BaseException:  # undo, then re-raise
                shutil.rmtree(staged, ignore_errors=True)
                raise
        return final

    def find(self, kind: Kind, name: str) -> Path | None:
        """The finished folder of that name, marked as used now; None if absent or if its Python is gone."""
        path = self.root / kind / name
        if not (path / _FACTS).is_file() or (kind == "environments" and not (path / "bin/python").exists()):
            return None
        with suppress(OSError):
            os.utime(path / _FACTS)
        return path

    def environments(self) -> list[StoredEnvironment]:
        """All finished environments, the least recently used first."""
        found = []
        for path in _children(self.root / "environments"):
            with suppress(FileNotFoundError):  # pruned meanwhile
                facts = path / _FACTS
                used = facts.stat().st_mtime
                found.append(StoredEnvironment(path.name, path, json.loads(facts.read_text("utf-8")), used))
        return sorted(found, key=lambda environment: environment.last_used)

    def remove(self, name: str) -> bool:
        """Remove an environment; False, and it stays, if a process runs from it or it is being built."""
        path = self.root / "environments" / name
        if _is_running_from(path):
            return False
        with self._locked(name, wait=False) as lock_fd:
            if lock_fd is None:
                return False
            # Out of sight first, so that a removal cut short leaves something to sweep, not half a venv.
            doomed = self.root / "staging" / name
            doomed.parent.mkdir(exist_ok=True)
            path.rename(doomed)
            shutil.rmtree(doomed)
        return True

    def sweep(self) -> int:
        """Remove staging folders whose builder is dead; return their number."""
        swept = 0
        for staged in _children(self.root / "staging"):
            with suppress(OSError), self._locked(staged.name, wait=False) as lock_fd:
                if lock_fd is not None:
                    shutil.rmtree(staged)
                    swept += 1
        return swept

    def read(self, folder: str, key: str) -> Any:
        """A remembered fact, or None. An unreadable one counts as forgotten."""
        with suppress(OSError, ValueError):
            return json.loads((self.root / folder / f"{key}.json").read_text("utf-8"))
        return None

    def read_all(self, folder: str) -> list[Any]:
        return [self.read(folder, path.stem) for path in _children(self.root / folder) if path.suffix == ".json"]

    def write(self, folder: str, key: str, facts: Any) -> None:
        """Remember a fact; where the cache cannot be written, it is not remembered."""
        path = self.root / folder / f"{key}.json"
        temporary = path.with_name(f".{key}.{os.getpid()}.{time.monotonic_ns()}")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(facts), encoding="utf-8")
            temporary.replace(path)

    def forget(self, folder: str) -> None:
        shutil.rmtree(self.root / folder, ignore_errors=True)

    @contextmanager
    def _locked(self, name: str, wait: bool = True) -> Iterator[Any]:
        """Hold the lock of a name and give its descriptor; None if it is taken and ``wait`` is false."""
        path = self.root / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    yield None
                    return
                _log.info("waiting for the process that builds %s", name)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            # Closing would not do: a child that another thread forked meanwhile may hold a copy.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _children(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return sorted(folder.iterdir())
    return []


def _is_running_from(environment: Path) -> bool:
    # By its command line: /proc/PID/exe of a virtualenv's Python is the interpreter that it links to.
    prefix = os.fsencode(environment) + b"/"
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if process.read_bytes().startswith(prefix):
                return True
    return False
