import struct

import numpy as np
import pytest

from neuropod_worker.errors import SpecError
from neuropod_worker.problem.dtypes import DTYPES
from neuropod_worker.serialization import deserialize, serialize

ARRAYS = [np.arange(24).reshape(2, 3, 4).astype(dtype) for dtype in sorted(DTYPES - {"string"})] + [
    np.array(["", "straße", "👩‍🚀"]),
    np.array("one"),
    np.zeros((0, 3), np.float32),
    np.float64(7),
    np.arange(6, dtype=">i4")[::2],
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda it: "{}-{}".format(it.dtype, it.shape))
def test_a_tensor_comes_back_equal(array):
    came = deserialize(serialize(array))
    assert came.dtype == array.dtype
    assert came.shape == array.shape
    assert (came == array).all()


def test_tensors_come_back_by_name():
    tensors = {"x": ARRAYS[0], "größe/a.npy": ARRAYS[-5], "": np.zeros(0)}
    came = deserialize(serialize(tensors))
    assert set(came) == set(tensors)
    assert all((came[name] == tensors[name]).all() for name in tensors)
    assert deserialize(serialize({})) == {}


def test_lists_and_objects_of_text_are_taken_as_inputs_are():
    assert deserialize(serialize([1, 2])).tolist() == [1, 2]
    assert deserialize(serialize(np.array(["a", "bc"], object))).tolist() == ["a", "bc"]


def test_equal_tensors_give_equal_bytes_with_the_documented_head():
    first = serialize({"a": np.zeros(3), "b": np.ones(2)})
    assert first == serialize({"b": np.ones(2), "a": np.zeros(3)})
    assert first[:16] == struct.pack("<8sII", b"NPODTNSR", 1, 2)
    assert serialize(np.zeros(1))[16:22] == b"\x93NUMPY"


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(SpecError, match="named by text, not 1"):
        serialize({1: np.zeros(2)})


def test_python_objects_are_refused_as_nothing_is_pickled():
    for value in (object(), {"x": [None]}, [{}]):
        with pytest.raises(SpecError, match="numbers or text"):
            serialize(value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "these 0 bytes are no serialized tensors"),
        (b"PK" * 20, "do not start with"),
        (struct.pack("<8sII", b"NPODTNSR", 2, 1), "version 2 and kind 1; this release reads version 1"),
        (struct.pack("<8sII", b"NPODTNSR", 1, 3), "kind 3"),
        (serialize(np.zeros(5))[:-8], "damaged"),
        (serialize(np.zeros(5)).replace(b"}", b" "), "damaged"),
        (serialize({"x": np.zeros(5)})[:-8], "cannot be read"),
        (struct.pack("<8sII", b"NPODTNSR", 1, 1) + b"\x93NUMPY", "damaged"),
    ],
)
def test_bytes_that_are_not_ours_or_damaged_are_a_value_error(data, says):
    with pytest.raises(ValueError, match=says):
        deserialize(data)
