import pickle

import numpy as np
import pytest

from neuropod_worker.errors import SpecError
from neuropod_worker.problem.checks import check_inputs, check_outputs, select_outputs
from neuropod_worker.problem.specs import TensorSpec

X = TensorSpec("x", "float32", (None, 2))
BATCHES = (TensorSpec("a", "int64", ("batch", 3)), TensorSpec("b", "string", ("batch",)))


def test_arrays_that_fit_pass_in_any_byte_order_and_memory_layout():
    check_inputs([X], {"x": np.zeros((5, 2), ">f4")})
    check_inputs([X], {"x": np.zeros((2, 5), "f4").T})
    check_inputs([X], {"x": np.zeros((0, 2), "f4")})
    check_inputs(BATCHES, {"a": np.zeros((2, 3), "i8"), "b": np.array(["é", ""])})


def test_missing_tensors_are_fine_and_a_missing_shape_means_any_rank():
    check_inputs([X], {})
    for shape in ((), (1,), (1, 2, 3)):
        check_inputs([TensorSpec("x", "bool", None)], {"x": np.zeros(shape, "?")})


def test_a_scalar_fits_an_empty_shape_only():
    scalar = TensorSpec("x", "float64", ())
    check_inputs([scalar], {"x": np.array(1.5)})
    with pytest.raises(SpecError, match=r"should have 0 dimensions \(\), but has 1: \(1,\)"):
        check_inputs([scalar], {"x": np.zeros(1)})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 2), "f8"), "input 'x': dtype should be float32, but is float64"),
        (np.array([[b"a", b"b"]]), "dtype should be float32, but is bytes8"),
        (np.zeros(2, "f4"), r"should have 2 dimensions \(\*, 2\), but has 1: \(2,\)"),
        (np.zeros((4, 3), "f4"), r"dimension 1 should be 2, but is 3: \(4, 3\) does not fit \(\*, 2\)"),
    ],
)
def test_a_misfit_names_tensor_dimension_expectation_and_finding(array, message):
    with pytest.raises(SpecError, match=message) as caught:
        check_inputs([X], {"x": array})
    assert caught.value.tensor == "x"
    assert isinstance(caught.value, ValueError)


def test_a_symbol_has_one_value_across_all_tensors():
    with pytest.raises(
        SpecError, match=r"output 'b': dimension 0 should be 2 \(the symbol 'batch', as in output 'a'"
    ):
        check_outputs(BATCHES, {"a": np.zeros((2, 3), "i8"), "b": np.array(["x"])})
    square = TensorSpec("s", "uint8", ("n", "n"))
    check_inputs([square], {"s": np.zeros((2, 2), "u1")})
    with pytest.raises(SpecError, match="dimension 1 should be 2"):
        check_inputs([square], {"s": np.zeros((2, 3), "u1")})


def test_an_unknown_tensor_is_an_error_that_lists_the_known_ones():
    with pytest.raises(SpecError, match="there is no input 'z'; the model's inputs are 'a', 'b'"):
        check_inputs(BATCHES, {"z": np.zeros(1)})


def test_requested_outputs_must_exist():
    assert select_outputs(BATCHES, None) == ("a", "b")
    assert select_outputs(BATCHES, ["b"]) == ("b",)
    with pytest.raises(SpecError, match="there is no output 'c'"):
        select_outputs(BATCHES, ["b", "c"])
    for wrong, message in (
        ("b", "not the str 'b'"),
        (b"b", "not the bytes"),
        (5, "not the int 5"),
        ([["b"]], r"\['b'\] is none"),
        ([5], "5 is none"),
    ):
        with pytest.raises(SpecError, match=message):
            select_outputs(BATCHES, wrong)


def test_requested_outputs_may_come_from_a_generator():
    assert select_outputs(BATCHES, (name for name in ["b", "a"])) == ("b", "a")


def test_a_spec_error_survives_pickling():
    error = pickle.loads(pickle.dumps(SpecError("wrong", tensor="x")))
    assert (str(error), error.tensor) == ("wrong", "x")
