"""Real interpreters and virtualenvs for tests, built once per machine. Runs on Python 3.6 as well.

``interpreter("3.6")`` finds a Python, ``environment(...)`` builds a virtualenv under the user's cache
directory, ``locked_environment("tf-1.12.0-py36")`` one of ``tests/locks``, ``fixture_neuropod(...)`` finds real
packages. Each skips the calling test where the machine lacks what it needs.
"""

import fcntl
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WORKERS = ROOT / "workers"
LOCKS = ROOT / "tests" / "locks"


def fixture_neuropod(name):
    """The path of a real package of the original, which lie beside the project, not in it."""
    shared = Path(os.environ.get("NEUROPOD_OPE_SHARED") or ROOT.parent / "shared")
    path = shared / "fixtures" / "neuropods" / name
    if not path.exists():
        pytest.skip(f"no shared fixtures here: there is no {path}; NEUROPOD_OPE_SHARED can name their folder")
    return path


def interpreter(version):
    """A Python of a minor version that was seen to run, e.g. ``interpreter("3.6")``."""
    homes = [Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")]
    homes.append(Path(pwd.getpwuid(os.getuid()).pw_dir) / ".pyenv")
    candidates = [path for home in homes for path in sorted(home.glob(f"versions/{version}.*/bin/python"))]
    on_path = shutil.which(f"python{version}")
    if on_path:
        candidates.append(Path(on_path))
    for candidate in candidates:
        run = subprocess.run([str(candidate), "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if run.returncode == 0 and f"Python {version}." in run.stdout.decode():
            return str(candidate)
    pytest.skip(f"this machine has no Python {version}, neither under pyenv nor on PATH")


def environment(name, python, pins, options=()):
    """The Python of a virtualenv with these pins; ``options`` go to ``uv pip install``.

    Built on first use under a file lock, rebuilt when what it was asked for has changed.
    """
    base = interpreter(python)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "neuropod_ope" / "tests" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    wanted = "\n".join([base, *pins, *options])
    done = folder / "built-from.txt"
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (done.exists() and done.read_text() == wanted):
            shutil.rmtree(str(folder), ignore_errors=True)
            _uv("venv", "--python", base, str(folder))
            _uv("pip", "install", "--python", str(folder / "bin" / "python"), *options, *pins)
            done.write_text(wanted)
    return str(folder / "bin" / "python")


def locked_environment(name):
    """The Python of a virtualenv with the pins of ``tests/locks/NAME.txt``, and pytest."""
    pins = (LOCKS / f"{name}.txt").read_text(encoding="utf-8").split()
    return environment(f"locked-{name}", python_of(name), [*pins, "pytest"])


def python_of(name):
    """The minor version of a lock's Python: 3.6 of tf-1.12.0-py36."""
    digits = name.rpartition("-py")[2]
    return f"{digits[0]}.{digits[1:]}"


def run_with(python, *arguments, **environ):
    """Run another environment's Python, which finds the worker's library and these tests; fail with what it said."""
    run = subprocess.run(
        [str(python), *map(str, arguments)],
        cwd=str(ROOT),
        env={**os.environ, "PYTHONPATH": f"{WORKERS}:{ROOT / 'tests'}", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = run.stdout.decode("utf-8", "replace")
    assert run.returncode == 0, said
    return said


def run_tests_in(python, *arguments):
    """Run tests of this project with another environment's pytest; fail with what they printed."""
    said = run_with(python, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments)
    assert re.search(r"\d+ passed", said), said


def _uv(*arguments):
    environ = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    if "PIP_FIND_LINKS" in environ:
        environ["UV_FIND_LINKS"] = environ["PIP_FIND_LINKS"]
    command = [sys.executable, "-m", "uv", "--quiet", *arguments]
    run = subprocess.run(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{run.stdout.decode('utf-8', 'replace')}")
