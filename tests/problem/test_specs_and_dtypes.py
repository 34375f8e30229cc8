import numpy as np
import pytest

from neuropod_worker.errors import SpecError
from neuropod_worker.problem.dtypes import DTYPES, canonical_dtype, dtype_name, numpy_dtype
from neuropod_worker.problem.parsing import parse_specs
from neuropod_worker.problem.specs import TensorSpec


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("double", "float64"), ("float", "float64"), (float, "float64"), (np.float32, "float32"),
        ("f4", "float32"), (np.dtype(">i2"), "int16"), (int, "int64"), (str, "string"), (np.str_, "string"),
        ("string", "string"), ("<U7", "string"), (bool, "bool"), (np.float16, "float16"),
        (complex, "complex128"), ("complex64", "complex64"),
    ],
)  # fmt: skip
def test_what_users_write_for_dtypes_is_canonicalised(given, canonical):
    assert canonical_dtype(given) == canonical


@pytest.mark.parametrize("given", [None, "flaot32", object, bytes, "S3", "datetime64[s]", 7])
def test_what_names_no_tensor_dtype_is_refused(given):
    with pytest.raises(ValueError, match="is not supported"):
        canonical_dtype(given)


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_names_and_numpy_dtypes_convert_back_and_forth(name):
    assert dtype_name(numpy_dtype(name)) == name
    assert dtype_name(numpy_dtype(name).newbyteorder()) == name


def test_specs_are_parsed_from_dicts():
    specs = parse_specs(
        [
            {"name": "x", "dtype": "double", "shape": [None, "batch", np.int64(3)]},
            {"name": "y", "dtype": str, "shape": None},
            {"name": "z", "dtype": "int8", "shape": []},
        ],
        "input",
    )
    assert specs == (
        TensorSpec("x", "float64", (None, "batch", 3)),
        TensorSpec("y", "string", None),
        TensorSpec("z", "int8", ()),
    )
    assert type(specs[0].shape[2]) is int


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"dtype": "int8", "shape": []}], "an output has no name"),
        ([{"name": "x", "shape": []}], "output 'x' has no 'dtype'"),
        ([{"name": "x", "dtype": "int8"}], "output 'x' has no 'shape'"),
        ([{"name": "x", "dtype": "int9", "shape": []}], "output 'x': dtype 'int9' is not supported"),
        ([{"name": "x", "dtype": "int8", "shape": 3}], "output 'x': the shape must be a list"),
        ([{"name": "x", "dtype": "int8", "shape": [0]}], "must be a positive int, None or a symbol, not 0"),
        ([{"name": "x", "dtype": "int8", "shape": [True]}], "not True"),
        ([{"name": "x", "dtype": "int8", "shape": [1.5]}], "not 1.5"),
        ([{"name": "x", "dtype": "int8", "shape": []}] * 2, "output 'x' is specified more than once"),
        (["x"], "each output must be a dict"),
        ("x", "must be a list of tensors"),
    ],
)
def test_a_wrong_spec_is_an_error_that_says_where(items, message):
    with pytest.raises(SpecError, match=message):
        parse_specs(items, "output")
