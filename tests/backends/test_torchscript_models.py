"""The TorchScript suite under the oldest and the newest torch. The old one runs on Python 3.6."""

import pytest
from environments_for_tests import environment, run_tests_in

TORCHES = {
    "torch-1.1.0-py36": ("3.6", ["torch==1.1.0", "numpy<1.20", "pytest<7.1"]),
    "torch-2.13.0-py311": ("3.11", ["torch==2.13.0", "numpy", "pytest"]),
}


@pytest.mark.frameworks
@pytest.mark.parametrize("name", sorted(TORCHES))
def test_torchscript_models_run_and_are_packaged_under(name):
    python, pins = TORCHES[name]
    run_tests_in(environment(name, python, pins), "tests/backends/torchscript_suite.py")
