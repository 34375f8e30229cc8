import pickle
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from neuropod_worker.errors import PackageError
from neuropod_worker.package.tensors_file import read_arrays, read_test_data, write_arrays, write_test_data

ARRAYS = {
    "file": np.arange(6, dtype=">i4").reshape(2, 3).T,
    "a/b": np.array(["", "é", "😀"]),
    "a.npy": np.array(1.5),
    "a": np.zeros((0, 3), "c8"),
    "../up": np.array([True]),
    "Ä ö": np.array([[b"x"]]),
}


def test_any_name_dtype_and_shape_comes_back(tmp_path):
    path = str(tmp_path / "arrays.npz")
    write_arrays(path, ARRAYS)
    found = read_arrays(path)
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_equal_arrays_give_equal_bytes_that_numpy_reads_too(tmp_path):
    for name in ("one", "two"):
        write_arrays(str(tmp_path / name), {key: ARRAYS[key] for key in sorted(ARRAYS, reverse=name == "one")})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with np.load(str(tmp_path / "one"), allow_pickle=False) as loaded:
        np.testing.assert_array_equal(loaded["file"], ARRAYS["file"])


def test_objects_are_neither_written_nor_read_and_no_name_is_cut(tmp_path):
    path = str(tmp_path / "objects.npz")
    with pytest.raises(PackageError, match="tensor 'o' holds Python objects"):
        write_arrays(path, {"o": np.array([{}])})
    with pytest.raises(PackageError, match="has no NUL"):
        write_arrays(path, {"a\0b": np.ones(1)})
    np.savez(path, o=np.array([{}]))
    with pytest.raises(PackageError, match="cannot be read"):
        read_arrays(path)


def test_a_damaged_file_is_a_package_error(tmp_path):
    path = tmp_path / "arrays.npz"
    with zipfile.ZipFile(str(path), "w") as archive:
        archive.writestr("x.npy", b"nothing")
    with pytest.raises(PackageError, match="cannot be read"):
        read_arrays(str(path))
    np.savez_compressed(str(path), x=np.arange(300))
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 255]) + whole[position + 1 :])
        with suppress(PackageError):  # not every byte matters
            read_arrays(str(path))


def test_sample_data_keeps_inputs_and_outputs_apart(tmp_path):
    assert read_test_data(str(tmp_path)) is None
    write_test_data(str(tmp_path), {"x": np.arange(3)}, {"x": np.array(["y"])})
    data = read_test_data(str(tmp_path))
    np.testing.assert_array_equal(data.inputs["x"], np.arange(3))
    np.testing.assert_array_equal(data.outputs["x"], ["y"])


def test_a_legacy_pickle_is_touched_only_when_asked_to(tmp_path):
    content = {"test_input": {"x": np.arange(3)}, "test_output": None}
    (tmp_path / "test_data.pkl").write_bytes(pickle.dumps(content, protocol=2))
    assert read_test_data(str(tmp_path)) is None
    data = read_test_data(str(tmp_path), allow_pickle=True)
    np.testing.assert_array_equal(data.inputs["x"], np.arange(3))
    assert data.outputs == {}


def test_a_legacy_pickle_of_python_2_has_its_texts_and_numbers(tmp_path):
    content = {"test_input": {"x": np.array([b"a", "é".encode()]), "o": np.array(["a", "bc"], object)}}
    (tmp_path / "test_data.pkl").write_bytes(pickle.dumps(content, protocol=2))
    inputs = read_test_data(str(tmp_path), allow_pickle=True).inputs
    assert {name: array.tolist() for name, array in inputs.items()} == {"x": ["a", "é"], "o": ["a", "bc"]}
    assert {array.dtype.kind for array in inputs.values()} == {"U"}


@pytest.mark.parametrize("content", [b"no pickle", b"", pickle.dumps([1]), pickle.dumps({"test_input": 5})])
def test_a_legacy_pickle_that_holds_no_test_data_is_a_package_error_that_names_it(tmp_path, content):
    (tmp_path / "test_data.pkl").write_bytes(content)
    with pytest.raises(PackageError, match=r"test_data\.pkl cannot be read"):
        read_test_data(str(tmp_path), allow_pickle=True)
