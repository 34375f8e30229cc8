"""The Keras suite under standalone Keras, the Keras inside TensorFlow 1 and 2, and Keras 3."""

import os
import subprocess

import pytest
from environments_for_tests import WORKERS, locked_environment, run_tests_in

LOCKS = (
    "tf-1.12.0-py36",
    "keras-2.2.4-tf1.13.1-py37",
    "keras-2.3.1-tf2.2.0-py38",
    "keras-2.11.0-tf2.11.0-py310",
    "tf-2.21.0-py313",
)


@pytest.mark.frameworks
@pytest.mark.parametrize("name", LOCKS)
def test_keras_models_are_packaged_and_run_under(name):
    run_tests_in(locked_environment(name), "tests/backends/keras_suite.py")


@pytest.mark.frameworks
def test_a_keras_model_on_another_framework_is_refused(tmp_path):
    code = (
        "import keras; from neuropod_worker.packagers import create_keras_neuropod as create\n"
        "x = keras.layers.Input((2,)); create('p', 'm', None, keras.Model(x, keras.layers.Dense(2)(x)))"
    )
    environ = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(WORKERS), "KERAS_HOME": str(tmp_path / "home")}
    python = locked_environment("keras-3.15.1-jax-py312")
    run = subprocess.run([python, "-c", code], env=environ, cwd=tmp_path, stderr=subprocess.PIPE)
    assert "PackageError: the Keras model runs on jax, and this packager takes" in run.stderr.decode()
    assert not (tmp_path / "p").exists()
