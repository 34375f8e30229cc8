"""Finding Pythons on this machine: on PATH, under pyenv, managed by uv, and those found before.

No candidate is believed before it has run (``-I``): a pyenv shim can lie on PATH and fail. What a run gave
is remembered until the file changes.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from neuropod_ope.environment.store import Store, content_name
from neuropod_ope.environment.versions import parse_version

_log = logging.getLogger("neuropod_ope.environment")

_PROBE_TIMEOUT_S = 30
_STDERR_SHOWN_CHARS = 500
_OUTPUT_SHOWN_CHARS = 200
# CPython 3.6 is the oldest that workers run on.
OLDEST_PYTHON = (3, 6)
_NAME = re.compile(r"python3(\.\d+)?$")
_PROBE = """
import json, platform, sys, sysconfig
print(json.dumps([
    sys.executable, platform.python_version(), sys.implementation.name,
    sysconfig.get_config_var("SOABI") or "", sysconfig.get_platform(), platform.libc_ver()[0],
    getattr(sys, "base_prefix", sys.prefix) == sys.prefix,
]))
"""


_PATHS = "import json, sys; print(json.dumps(sys.path))"


class Interpreter(NamedTuple):
    """A Python that has been run. ``libc`` tells musl ("") from glibc; ``is_base``: it is no virtualenv."""

    path: str
    version: str
    implementation: str
    abi: str
    platform: str
    libc: str
    is_base: bool

    @property
    def minor(self) -> str:
        return ".".join(map(str, parse_version(self.version).release[:2]))

    def is_supported(self) -> bool:
        return parse_version(self.version).release >= OLDEST_PYTHON


class ProbeError(Exception):
    """A file is no Python that runs; the text says what it did instead."""


def probe(path: Path) -> Interpreter:
    """Run an interpreter and ask it what it is. Raises ProbeError."""
    answer = _answer(path, _PROBE)
    try:
        return Interpreter(*answer)
    except TypeError as error:
        raise ProbeError(f"unexpected output {str(answer)[:_OUTPUT_SHOWN_CHARS]!r}") from error


def _answer(path: Path, question: str) -> Any:
    """The JSON that an interpreter prints when it runs a program. Raises ProbeError."""
    try:
        done = subprocess.run(
            [path, "-I", "-c", question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise ProbeError(f"it did not answer within {_PROBE_TIMEOUT_S} s") from None
    except OSError as error:
        raise ProbeError(str(error)) from error
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        # What is no Python may quote its arguments, and they would say nothing to a person.
        said = "" if any(line and line in done.stderr for line in question.splitlines()) else done.stderr.strip()
        raise ProbeError(f"exit code {done.returncode}: {said[:_STDERR_SHOWN_CHARS] or 'it is no Python'}")
    # The last line: a sitecustomize may have printed something before.
    try:
        return json.loads(lines[-1])
    except ValueError as error:
        raise ProbeError(f"unexpected output {lines[-1][:_OUTPUT_SHOWN_CHARS]!r}") from error


def named(path: Path, store: Store) -> Interpreter:
    """Probe the interpreter that a user names. Raises ProbeError."""
    return Interpreter(*_remembered(path, store, "named", probe, retry_failed=True))


def package_folders(path: Path, store: Store) -> tuple[str, ...]:
    """Where an interpreter that is started with ``-I`` finds packages. Raises ProbeError."""
    return tuple(_remembered(path, store, "paths", lambda one: _answer(one, _PATHS), retry_failed=True))


def discover(store: Store, retry_failed: bool = False) -> list[Interpreter]:
    """All usable CPythons, newest first. Those that failed before are run again only if asked for.

    One that was found once stays known: a service with a bare PATH finds what was built from a shell.
    """
    known = (entry["path"] for entry in store.read_all("interpreters") if entry and entry["failure"] is None)
    found: dict[str, Interpreter] = {}
    for path in dict.fromkeys(os.path.realpath(path) for path in (*_candidates(), *map(Path, known))):
        try:
            interpreter = Interpreter(*_remembered(Path(path), store, "interpreters", probe, retry_failed))
        except ProbeError as error:
            _log.debug("%s is passed over: %s", path, error)
            continue
        if interpreter.is_base and interpreter.implementation == "cpython" and interpreter.is_supported():
            # A wrapper script or a shim that works says which interpreter it starts.
            real = os.path.realpath(interpreter.path)
            found[real] = interpreter._replace(path=real)
    return sorted(found.values(), key=lambda one: (parse_version(one.version), one.path), reverse=True)


def newest_of_each_minor(interpreters: Iterable[Interpreter]) -> list[Interpreter]:
    """One for each minor version, of interpreters that come newest first."""
    found: dict[str, Interpreter] = {}
    for interpreter in interpreters:
        found.setdefault(interpreter.minor, interpreter)
    return list(found.values())


def _remembered(path: Path, store: Store, folder: str, ask: Callable[[Path], Any], retry_failed: bool) -> Any:
    path = path.absolute()
    key = content_name(str(path))
    try:
        stat = path.stat()
    except OSError as error:
        raise ProbeError(str(error)) from error
    identity = [os.path.realpath(path), stat.st_ino, stat.st_mtime_ns]
    entry = store.read(folder, key)
    if entry is None or entry["identity"] != identity or (retry_failed and entry["failure"]):
        facts = failure = None
        try:
            facts = ask(path)
        except ProbeError as error:
            failure = str(error)
        entry = {"path": str(path), "identity": identity, "facts": facts, "failure": failure}
        store.write(folder, key, entry)
    if entry["failure"] is not None:
        raise ProbeError(entry["failure"])
    return entry["facts"]


def _candidates() -> Iterator[Path]:
    yield Path(getattr(sys, "_base_executable", None) or sys.executable)
    for folder in map(Path, os.get_exec_path()):
        if not _is_pyenv_shims(folder):
            yield from _pythons_in(folder)
    for root in _pyenv_roots():
        for version in _listed(root / "versions"):
            yield from _pythons_in(version / "bin")
    for managed in _listed(_uv_python_dir()):
        yield from _pythons_in(managed / "bin")


def _is_pyenv_shims(folder: Path) -> bool:
    # Slow to run, and most of them fail; what they could start lies in `versions`.
    return folder.name == "shims" and (folder.parent / "versions").is_dir()


def _pythons_in(folder: Path) -> list[Path]:
    return [path for path in _listed(folder) if _NAME.match(path.name) and os.access(path, os.X_OK)]


def _pyenv_roots() -> Iterator[Path]:
    if os.environ.get("PYENV_ROOT"):
        yield Path(os.environ["PYENV_ROOT"])
    yield Path.home() / ".pyenv"
    yield from (folder.parent for folder in map(Path, os.get_exec_path()) if _is_pyenv_shims(folder))
    # A service or a test may run with another HOME than the user's own.
    with suppress(KeyError):
        yield Path(pwd.getpwuid(os.getuid()).pw_dir) / ".pyenv"


def _uv_python_dir() -> Path:
    own = os.environ.get("UV_PYTHON_INSTALL_DIR")
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(own) if own else Path(data) / "uv/python"


def _listed(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.iterdir())
    return []
