"""Packages that are made in the application are tested in the environment that they ask for."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from environments_for_tests import fixture_neuropod, locked_environment
from sample_packages import DOUBLING, FLOATS_IN, FLOATS_OUT, write_files

import neuropod_ope
from neuropod_ope import PackageError, create_python_neuropod, create_tensorflow_neuropod, create_torchscript_neuropod
from neuropod_worker import packagers
from neuropod_worker.package import read_package

VERSIONS = """
import sys
import numpy as np
def load(data_dir):
    return lambda x: {"y": np.array(["%d.%d" % sys.version_info[:2], np.__version__]), "x": x}
"""
FRAMEWORKS = {"torch", "tensorflow"}
X, Y = np.float32([[1, 2], [3, 4]]), np.float32([[5, 6], [7, 8]])
PAIR = [{"name": name, "dtype": "float32", "shape": (None, None)} for name in "xy"]
OUT = [{"name": "out", "dtype": "float32", "shape": (None, None)}]


def python_model(tmp_path, code, **parameters):
    root = str(write_files(tmp_path / "source", {"model.py": code}))
    arguments = {
        "neuropod_path": str(tmp_path / "packaged"),
        "model_name": "m",
        "data_paths": [],
        "code_path_spec": [{"python_root": root, "dirs_to_package": ["model.py"]}],
        "entrypoint_package": "model",
        "entrypoint": "load",
        "input_spec": FLOATS_IN,
        "output_spec": FLOATS_OUT,
        "test_input_data": {"x": np.float32([1, 2])},
    }
    create_python_neuropod(**{**arguments, **parameters})


@pytest.mark.workers
def test_a_package_is_tested_with_the_python_and_the_pins_that_it_asks_for(tmp_path):
    python_model(
        tmp_path,
        VERSIONS,
        output_spec=[{"name": "y", "dtype": "string", "shape": (2,)}, FLOATS_IN[0]],
        platform_version_semver="3.7.x",
        requirements=["numpy==1.21.6"],
        test_expected_out={"y": ["3.7", "1.21.6"], "x": np.float32([1, 2])},
    )
    assert (tmp_path / "packaged").exists()


@pytest.mark.workers
@pytest.mark.parametrize(
    ("code", "parameters", "message"),
    [
        (DOUBLING, {"test_expected_out": {"y": np.float32([2, 5])}}, "not the expected ones"),
        ("load = 5", {}, "does not run on its test input: model 'm' of .*/packaged: .*model.load is not callable"),
        ("def load(d):\n    return lambda x: {}['the cause']", {}, "(?s)does not run on its test input.*the cause"),
        (
            DOUBLING,
            {"platform_version_semver": "3.99.x"},
            r"(?s)does not run on its test input: .*env build --platform python --range 3\.99\.x --python-downloads",
        ),
    ],
)
def test_a_package_that_fails_its_test_is_a_value_error_and_not_kept(tmp_path, code, parameters, message):
    with pytest.raises(ValueError, match=message):
        python_model(tmp_path, code, **parameters)
    assert os.listdir(tmp_path) == ["source"]


def test_the_packagers_are_those_of_the_training_environments():
    for name in packagers.__all__:
        assert getattr(neuropod_ope, name).__wrapped__ is getattr(packagers, name)
        assert name in neuropod_ope.__all__


@pytest.mark.frameworks
def test_saved_models_are_packaged_and_tested_without_their_framework_here(tmp_path):
    sample = {"test_input_data": {"x": X, "y": Y}, "test_expected_out": {"out": X + Y}}
    create_torchscript_neuropod(
        str(tmp_path / "torchscript"),
        "m",
        PAIR,
        OUT,
        module_path=str(fixture_neuropod("torchscript_addition_model") / "0/data/model.pt"),
        platform_version_semver="1.10.x",
        **sample,
    )
    frozen = fixture_neuropod("tf_addition_model")
    graph = {
        "frozen_graph_path": str(frozen / "0/data/model.pb"),
        "node_name_mapping": json.loads((frozen / "0/config.json").read_text())["node_name_mapping"],
    }
    create_tensorflow_neuropod(str(tmp_path / "graph"), "m", PAIR, OUT, **graph, **sample)
    with pytest.raises(PackageError, match="not the expected ones"):
        wrong = {**sample, "test_expected_out": {"out": X}}
        create_tensorflow_neuropod(str(tmp_path / "wrong"), "m", PAIR, OUT, **graph, **wrong)
    assert sorted(os.listdir(tmp_path)) == ["graph", "torchscript"]
    assert not FRAMEWORKS & set(sys.modules)


SAVES = """
import sys, tensorflow as tf
class Adding(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name=name) for name in "xy"])
    def __call__(self, x, y):
        return {"out": x + y}
tf.saved_model.save(Adding(), sys.argv[1])
"""


@pytest.mark.frameworks
def test_a_saved_model_directory_is_packaged_and_tested_without_tensorflow_here(tmp_path):
    subprocess.run([locked_environment("tf-2.21.0-py313"), "-c", SAVES, tmp_path / "saved"], check=True)
    path = tmp_path / "packaged"
    create_tensorflow_neuropod(
        str(path),
        "m",
        PAIR,
        OUT,
        saved_model_dir=tmp_path / "saved",
        package_as_zip=False,
        test_input_data={"x": X, "y": Y},
        test_expected_out={"out": X + Y},
    )
    assert os.path.isfile(read_package(str(path)).file("data", "savedmodel", "saved_model.pb"))
    assert not FRAMEWORKS & set(sys.modules)
