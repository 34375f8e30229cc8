import os
import shutil

import numpy as np
import pytest

from neuropod_worker.backends import load_model
from neuropod_worker.package import read_package
from neuropod_worker.packagers import randomify_neuropod
from neuropod_worker.problem.dtypes import DTYPES


def spec(name, dtype, *shape):
    return {"name": name, "dtype": dtype, "shape": shape}


def placeholder(tmp_path, inputs, outputs, **parameters):
    path = str(tmp_path / "placeholder")
    randomify_neuropod(path, inputs, outputs, package_as_zip=False, **parameters)
    return load_model(read_package(path))


def as_lists(outputs):
    return {name: array.tolist() for name, array in outputs.items()}


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype_fits_its_spec_and_varies(tmp_path, dtype):
    model = placeholder(tmp_path, [], [spec("y", dtype, 40, 3), spec("scalar", dtype)], seed=0)
    outputs = model.infer({})
    assert (outputs["y"].shape, outputs["scalar"].shape) == ((40, 3), ())
    assert outputs["y"].dtype.kind == outputs["scalar"].dtype.kind
    if dtype == "string":
        assert outputs["y"].dtype.kind == "U"
        assert max("".join(outputs["y"].ravel().tolist())) == "😀"
    else:
        assert outputs["y"].dtype == dtype
    assert len(np.unique(outputs["y"])) > 1


def test_a_symbol_has_the_size_that_the_inputs_give_it(tmp_path):
    inputs = [spec("x", "float32", "batch", 2, "length"), spec("self", "string", "batch")]
    outputs = [spec("y", "float64", "length", "batch"), spec("z", "string", "batch", 3)]
    model = placeholder(tmp_path, inputs, outputs)
    result = model.infer({"x": np.zeros((5, 2, 7), np.float32), "self": np.array(["a"] * 5)})
    assert (result["y"].shape, result["z"].shape) == ((7, 5), (5, 3))
    assert model.infer({"self": np.array([], np.str_)})["z"].shape == (0, 3)


def test_a_symbol_that_no_input_gives_is_the_same_in_all_outputs(tmp_path):
    outputs = [
        spec("y", "int8", "n", None),
        spec("z", "int8", None, "n", "n"),
        {"name": "w", "dtype": "int8", "shape": None},
    ]
    model = placeholder(tmp_path, [spec("x", "float32", "n")], outputs, seed=4)
    seen = [model.infer({}) for _ in range(50)]
    for result in seen:
        assert result["y"].shape[0] == result["z"].shape[1] == result["z"].shape[2]
    assert len({result["y"].shape for result in seen}) > 1
    assert len({result["w"].ndim for result in seen}) > 1


def test_equal_seeds_give_equal_answers_call_by_call(tmp_path):
    outputs = [spec(dtype, dtype, "n", 2) for dtype in sorted(DTYPES)]
    answers = []
    for name, seed in (("a", 7), ("b", np.int64(7)), ("c", 8)):
        (tmp_path / name).mkdir()
        model = placeholder(tmp_path / name, [], outputs, seed=seed)
        answers.append([as_lists(model.infer({})) for _ in range(3)])
    assert answers[0] == answers[1] != answers[2]
    assert answers[0][0] != answers[0][1]


def test_a_seed_means_the_same_under_every_numpy(tmp_path):
    model = placeholder(tmp_path, [], [spec("i", "int16", "n"), spec("s", "string", "n")], seed=3)
    expected = {"i": [71, 29, 51, 90, 90], "s": ["bn", "", "uiusa", "imivne", "yjgm漢😀"]}
    assert as_lists(model.infer({})) == expected


def test_without_a_seed_every_load_answers_differently(tmp_path):
    model = placeholder(tmp_path, [], [spec("y", "float64", 4)])
    again = load_model(read_package(str(tmp_path / "placeholder")))
    assert as_lists(model.infer({})) != as_lists(again.infer({}))


def test_the_package_needs_neither_a_framework_nor_this_library(tmp_path):
    placeholder(tmp_path, [spec("x", "float32", "n")], [spec("y", "float32", "n")])
    package = read_package(str(tmp_path / "placeholder"))
    assert (package.platform, package.name, package.version_range) == ("python", "placeholder", "*")
    assert package.requirements_lock is None
    for folder, _, files in os.walk(package.file("code")):
        for name in files:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                assert "import neuropod" not in file.read()


def test_what_all_packagers_take_is_taken(tmp_path):
    inputs, outputs = [spec("x", "float32", "n")], [spec("y", "int32", 2)]
    first = placeholder(tmp_path, inputs, outputs, seed=1).infer({"x": np.zeros(3, np.float32)})
    shutil.rmtree(str(tmp_path / "placeholder"))
    sample = {"test_input_data": {"x": np.zeros(3, np.float32)}, "test_expected_out": first}
    placeholder(tmp_path, inputs, outputs, seed=1, model_name="ranker", default_input_tensor_device="CPU", **sample)
    package = read_package(str(tmp_path / "placeholder"))
    assert (package.name, package.input_devices) == ("ranker", {"x": "CPU"})


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "1", [1, 2]])
def test_what_is_no_seed_is_a_value_error_and_leaves_nothing(tmp_path, seed):
    with pytest.raises(ValueError, match="seed must be a whole number from 0 to"):
        placeholder(tmp_path, [], [spec("y", "float32")], seed=seed)
    assert os.listdir(str(tmp_path)) == []
