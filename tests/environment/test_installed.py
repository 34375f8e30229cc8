import os
import pickle
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from environments_for_tests import ROOT, WORKERS

from neuropod_ope.environment import (
    EnvironmentBuildError,
    EnvironmentPolicy,
    NoMatchingEnvironment,
    Requirement,
    ensure_environment,
    missing_in_this_interpreter,
)
from neuropod_ope.environment.installed import Installation, this_interpreter

EMPTY = Installation("an empty one", platform.python_version(), ())


def python(version_range: str, lock: str | None = None) -> Requirement:
    return Requirement("python", version_range, lock)


def test_this_interpreter_satisfies_its_own_version_and_packages() -> None:
    assert missing_in_this_interpreter(python("*")) is None
    assert missing_in_this_interpreter(python(platform.python_version())) is None
    assert missing_in_this_interpreter(python("*", f"numpy=={version('numpy')}")) is None


def test_what_is_missing_is_said() -> None:
    assert "is Python" in str(missing_in_this_interpreter(python("3.6.x")))
    assert "asks for numpy==1.0" in str(missing_in_this_interpreter(python("*", "numpy==1.0")))
    assert "has no no-such-thing" in str(missing_in_this_interpreter(python("*", "no-such-thing==1")))
    assert "no platform 'caffe'" in str(missing_in_this_interpreter(Requirement("caffe", "*", None)))


def test_a_pin_whose_marker_does_not_hold_there_is_not_asked_for() -> None:
    requirement = python("*", 'dataclasses==0.8; python_version < "3.7"')
    assert missing_in_this_interpreter(requirement) is None
    old = Installation("an old one", "3.6.15", ())
    assert "an old one has no dataclasses" in str(old.missing(requirement))


def test_only_packages_that_the_given_path_holds_count() -> None:
    assert "has no numpy" in str(EMPTY.missing(python("*", "numpy>=1")))
    assert "has no torch" in str(EMPTY.missing(Requirement("torchscript", "*", None)))


def test_a_worker_needs_a_numpy_that_an_isolated_start_finds() -> None:
    assert this_interpreter().missing_for_a_worker(python("*")) is None
    assert "no numpy that a worker would find" in str(EMPTY.missing_for_a_worker(python("*")))
    assert "has no torch" in str(EMPTY.missing_for_a_worker(Requirement("torchscript", "*", None)))


@pytest.mark.workers
def test_a_numpy_in_pythonpath_does_not_make_an_interpreter_fit_for_a_worker(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "uv", "venv", "-q", "--python", sys.executable, bare], check=True)
    code = (
        "import numpy; from pathlib import Path; from neuropod_ope.environment import *\n"
        "requirement = Requirement('python', '*', None)\n"
        "print(missing_in_this_interpreter(requirement))\n"
        "try: ensure_environment(requirement, EnvironmentPolicy(Path('cache'), build='never'))\n"
        "except NoMatchingEnvironment as error: print(error)"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(WORKERS), *filter(None, sys.path)])}
    done = subprocess.run(
        [bare / "bin/python", "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    in_process, out_of_process = done.stdout.splitlines()
    assert in_process == "None"
    assert "the environment for Python * has not been resolved" in out_of_process


def test_a_range_in_pips_spelling_is_refused_before_anything_is_done(tmp_path: object) -> None:
    with pytest.raises(ValueError, match=r"write '>=3\.6 <3\.8'"):
        ensure_environment(python(">=3.6,<3.8"), EnvironmentPolicy(tmp_path))  # type: ignore[arg-type]


def test_errors_survive_pickling_with_their_facts() -> None:
    error = NoMatchingEnvironment("no", platform="python", version_range="*", command="do this", lack="that")
    assert pickle.loads(pickle.dumps(error)).__dict__ == error.__dict__
    failed = EnvironmentBuildError("no", command="uv", returncode=2, log=("line",), log_shown=True)
    assert pickle.loads(pickle.dumps(failed)).__dict__ == failed.__dict__
