"""Training scripts run where their models will run: in the environments that the library finds or builds."""

import os
import subprocess
import tempfile
from pathlib import Path

import neuropod_worker
from neuropod_ope import NeuropodError
from neuropod_ope.environment import EnvironmentPolicy, Requirement, ensure_environment

HERE = Path(__file__).resolve().parent


class TrainingFailed(Exception):
    """A training script ended with an error, which it has printed."""


def is_built(requirement: Requirement, policy: EnvironmentPolicy) -> bool:
    try:
        ensure_environment(requirement, policy._replace(build="never"))
    except NeuropodError:
        return False
    return True


def run_in_environment(
    requirement: Requirement, policy: EnvironmentPolicy, script: str, *arguments: str | Path
) -> None:
    """Run a script of this folder with the interpreter and the packages of a requirement.

    Raises TrainingFailed, or what `ensure_environment` raises.
    """
    environment = ensure_environment(requirement, policy)
    with tempfile.TemporaryDirectory() as folder:
        # The packagers must be importable there, and nothing else of what is installed here.
        os.symlink(os.path.dirname(neuropod_worker.__file__), os.path.join(folder, "neuropod_worker"))
        done = subprocess.run(
            [environment.python, HERE / script, *arguments], env={**os.environ, "PYTHONPATH": folder}
        )
    if done.returncode:
        raise TrainingFailed(f"{script} failed with exit status {done.returncode}")
