"""The test data of a package through the public API: infer, and compare with what the model gave when packaged."""

import pickle
import shutil

import numpy as np
import pytest
from environments_for_tests import fixture_neuropod
from sample_packages import DOUBLING, python_neuropod

from neuropod_ope import PackageError, Runtime, read_test_data

X = np.float32([1, 2, 3])


@pytest.mark.parametrize("package_as_zip", [False, True])
def test_test_data_come_back_and_the_model_gives_what_is_expected(tmp_path, package_as_zip):
    sample = {"test_input_data": {"x": X}, "test_expected_out": {"y": X * 2}}
    path = python_neuropod(tmp_path, {"main.py": DOUBLING}, package_as_zip=package_as_zip, **sample)
    data = read_test_data(path)
    with Runtime() as runtime, runtime.load(path) as model:
        np.testing.assert_allclose(model.infer(data.inputs)["y"], data.outputs["y"])


def test_a_package_without_test_data_has_none(tmp_path):
    assert read_test_data(python_neuropod(tmp_path, {"main.py": DOUBLING})) is None
    with pytest.raises(PackageError, match="there is no package at"):
        read_test_data(tmp_path / "nowhere")


@pytest.mark.frameworks
def test_a_real_package_of_the_original_answers_as_its_pickled_test_data_expect(tmp_path):
    path = shutil.copytree(fixture_neuropod("tf_addition_model"), tmp_path / "package")
    content = {"test_input": {"x": X[None], "y": X[None]}, "test_output": {"out": X[None] * 2}}
    (path / "test_data.pkl").write_bytes(pickle.dumps(content, protocol=2))
    assert read_test_data(path) is None
    data = read_test_data(path, allow_pickle=True)
    with Runtime() as runtime, runtime.load(path, out_of_process=True) as model:
        np.testing.assert_allclose(model.infer(data.inputs)["out"], data.outputs["out"])
