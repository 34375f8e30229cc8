"""In hosts that run other people's code: a notebook kernel, and pytest with several processes."""

import importlib.metadata
import os
import subprocess
from pathlib import Path

import pytest
from environments_for_tests import ROOT, WORKERS, environment
from left_behind import wait_none_marked
from sample_packages import python_neuropod
from test_applications import MODEL

pytestmark = pytest.mark.workers

TESTS = """
import numpy as np
import pytest
from neuropod_ope import Runtime, WorkerDied

@pytest.fixture(scope="session")
def call():
    with Runtime(cache_dir={cache!r}, environ_allow=[{mark!r}]) as runtime:
        model = runtime.load({package!r}, out_of_process=True)
        yield lambda number: model.infer({{"x": np.full(2, number, np.float32)}})["y"].tolist()

@pytest.mark.parametrize("number", range(10, 20))
def test_an_answer(call, number):
    assert call(number) == [2.0 * number] * 2

@pytest.mark.parametrize("number", range(4))
def test_a_death(call, number):
    with pytest.raises(WorkerDied):
        call(7)
"""


@pytest.fixture(scope="module")
def python():
    """Of an environment with these hosts and with what this library needs."""
    needed = importlib.metadata.requires("neuropod-ope")
    needed = [one for one in needed if "extra ==" not in one and not one.startswith("neuropod-worker")]
    return environment("hosts", "3.11", [*needed, "ipykernel", "jupyter-client", "pytest", "pytest-xdist"])


@pytest.fixture
def run(tmp_path, python, marked, mark):
    """Runs a program with the package of a model; none of its workers may outlive it."""

    def run_it(*command):
        environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{WORKERS}", "HOME": str(tmp_path)}
        done = subprocess.run(
            [python, *command], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300
        )
        wait_none_marked(marked)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run_it


@pytest.fixture
def package(tmp_path):
    return python_neuropod(tmp_path, {"main.py": MODEL})


def test_in_a_notebook_models_answer_die_are_awaited_interrupted_and_restarted(run, package, tmp_path, mark):
    run(Path(__file__).with_name("notebook_session.py"), package, tmp_path / "cache", mark)


def test_tests_that_load_models_run_under_xdist(run, package, tmp_path, mark):
    tests = tmp_path / "test_models.py"
    tests.write_text(TESTS.format(cache=str(tmp_path / "cache"), mark=mark, package=package))
    assert "14 passed" in run("-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", tests)
