"""The tests of all that runs in a model's environment, under real interpreters."""

import os
import subprocess

import pytest
from environments_for_tests import WORKERS, environment, run_tests_in

FOLDERS = ("tests/problem", "tests/package", "tests/backends")
PINS = {"3.6": ["numpy", "pytest<7.1"], **{version: ["numpy", "pytest"] for version in ("3.7", "3.8", "3.13")}}
PINS_TO_SERVE = {"3.6": ["numpy==1.16.6", "pytest<7.1", "msgpack"], "3.13": ["numpy", "pytest", "msgpack"]}


@pytest.mark.workers
@pytest.mark.parametrize("version", sorted(PINS))
def test_packages_are_written_opened_and_run_on_python(version):
    python = environment(f"numpy-py{version.replace('.', '')}", version, PINS[version])
    run_tests_in(python, *FOLDERS, "-m", "not workers and not frameworks")


@pytest.mark.workers
@pytest.mark.parametrize("version", sorted(PINS_TO_SERVE))
def test_messages_cross_shared_memory_on_python(version):
    python = environment(f"serving-py{version.replace('.', '')}", version, PINS_TO_SERVE[version])
    run_tests_in(python, "tests/wire", "tests/shm", "--ignore=tests/shm/test_segments.py")


@pytest.mark.workers
@pytest.mark.parametrize("version", sorted(PINS))
def test_the_worker_program_leaves_the_path_of_a_plain_isolated_start(version):
    python = environment(f"numpy-py{version.replace('.', '')}", version, PINS[version])
    show = "import sys; print(sys.path); print('neuropod_worker' in sys.modules)"
    program = str(WORKERS / "neuropod_worker" / "__main__.py")
    adopt = f"import runpy; runpy.run_path({program!r})['_adopt_own_folder'](); "
    environ = {**os.environ, "PYTHONPATH": "/nowhere"}
    plain, adopted = (
        subprocess.run([python, "-I", "-c", code], env=environ, stdout=subprocess.PIPE).stdout.decode().split("\n")
        for code in (show, adopt + show)
    )
    assert plain[0] == adopted[0]
    assert (plain[1], adopted[1]) == ("False", "True")
