"""Where the native library was not built, everything is as with it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import neuropod_worker

TESTS = Path(__file__).parent
SHOWN = "from neuropod_worker.shm import native; print(native.__file__, native.library)"


@pytest.fixture
def environment(tmp_path):
    """A copy of the worker's package, for a client and its workers, in which the library is not."""
    source = Path(neuropod_worker.__file__).parent
    shutil.copytree(source, tmp_path / "neuropod_worker", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    # Not just absent: the finder of an editable installation would look for it in the checkout.
    (tmp_path / "neuropod_worker" / "_native.py").write_text("raise ImportError('as if it had not been built')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    shown = subprocess.run([sys.executable, "-c", SHOWN], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [str(tmp_path / "neuropod_worker" / "shm" / "native.py"), "None"]
    return environment


@pytest.mark.workers
def test_all_is_the_same_without_native_code(environment):
    tests = TESTS / "client" / "test_repeated_calls.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", tests]
    run = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert " passed" in run.stdout
