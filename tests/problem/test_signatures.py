import numpy as np
import pytest

from neuropod_worker.problem.signatures import Signatures


def test_alike_calls_have_one_signature_and_others_have_another():
    signatures = Signatures()
    alike = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.int8)}
    first = signatures.of(alike)
    others = [
        {"a": np.zeros((2, 3), np.float32)},
        {"b": np.zeros(4, np.int8), "a": np.zeros((2, 3), np.float32)},
        {"a": np.zeros((3, 2), np.float32), "b": np.zeros(4, np.int8)},
        {"a": np.zeros((2, 3), np.float64), "b": np.zeros(4, np.int8)},
        {"a": np.zeros((2, 3), ">f4"), "b": np.zeros(4, np.int8)},
        {"a": np.zeros((2, 3), np.float32), "b": np.ma.zeros(4, np.int8)},
        {},
    ]
    for other in others:
        assert signatures.of(other) is not first
        assert signatures.of(other) is signatures.of(dict(other))
        assert signatures.of({name: array + 1 for name, array in alike.items()}) is first
    assert len({id(signatures.of(other)) for other in others}) == len(others)


def test_texts_are_alike_if_their_arrays_are():
    signatures = Signatures()
    assert signatures.of({"s": np.array(["ab"])}) is signatures.of({"s": np.array(["cd"])})
    assert signatures.of({"s": np.array(["ab"])}) is not signatures.of({"s": np.array(["cde"])})


def test_a_signature_remembers_that_it_was_checked():
    signatures = Signatures()
    assert not signatures.of({"a": np.zeros(1)}).checked
    signatures.of({"a": np.zeros(1)}).checked = True
    signatures.of({"a": np.zeros(2)})
    assert signatures.of({"a": np.ones(1)}).checked


def test_the_signatures_of_many_shapes_do_not_pile_up():
    signatures = Signatures()
    for size in range(5000):
        signatures.of({"a": np.empty(size, np.int8)})
    assert len(signatures._known) <= 1024


@pytest.mark.parametrize("what", [None, [1], {"a": [1]}, {"a": 1.0}, {(): None}])
def test_what_is_no_dict_of_arrays_has_none(what):
    with pytest.raises((AttributeError, TypeError)):
        Signatures().of(what)
