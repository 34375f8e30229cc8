"""Everything at once, at random, for a minute; `make soak` goes on for longer."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.workers
def test_a_minute_of_random_models_calls_faults_and_kills():
    command = [sys.executable, Path(__file__).with_name("soak.py"), "--seconds", "60"]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
