"""The TensorFlow suite under the oldest and the newest TensorFlow. The old one runs on Python 3.6."""

import pytest
from environments_for_tests import environment, run_tests_in

TENSORFLOWS = {
    "tf-1.12.0-py36": ("3.6", ["tensorflow==1.12.0", "protobuf<3.21", "numpy==1.16.6", "pytest<7.1", "msgpack"]),
    "tf-2.21.0-py313": ("3.13", ["tensorflow-cpu==2.21.0", "pytest", "msgpack"]),
}


@pytest.mark.frameworks
@pytest.mark.parametrize("name", sorted(TENSORFLOWS))
def test_tensorflow_models_run_and_are_packaged_under(name):
    python, pins = TENSORFLOWS[name]
    run_tests_in(environment(name, python, pins), "tests/backends/tensorflow_suite.py")
