"""What is done for a repeated call, by native code and by its twins in Python."""

import gc
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from neuropod_worker.shm import native

TWINS = SimpleNamespace(place=native._place, copies=native._copies, most_references=native._most_references)


@pytest.fixture(params=["native", "python"])
def code(request):
    return TWINS if request.param == "python" else request.getfixturevalue("native_library")


def layout_for(**arrays):
    views = {name: np.zeros_like(array) for name, array in arrays.items()}
    return tuple([(name, view, view.nbytes) for name, view in views.items()]), views


LIKE = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(7, np.int64),
    "c": np.zeros((0, 4), np.uint8),
}


def test_arrays_that_fit_are_placed(code):
    layout, views = layout_for(**LIKE)
    assert code.place(LIKE, layout) is True
    assert all((views[name] == array).all() for name, array in LIKE.items())


def test_names_are_compared_by_their_text(code):
    layout, views = layout_for(**LIKE)
    assert code.place({"".join(list(name)): array for name, array in LIKE.items()}, layout) is True
    assert views["b"] == 7


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize(
    "unlike",
    [
        {**LIKE, "a": np.zeros((3, 2), np.float32)},
        {**LIKE, "a": np.zeros(6, np.float32)},
        {**LIKE, "a": np.zeros((2, 3), np.int32)},
        {**LIKE, "a": np.zeros((2, 3), ">f4")},
        {**LIKE, "a": np.zeros((3, 2), np.float32).T},
        {**LIKE, "a": np.zeros((2, 6), np.float32)[:, ::2]},
        {**LIKE, "a": np.zeros((2, 3), np.float32).view(Subclass)},
        {**LIKE, "a": np.ma.zeros((2, 3), np.float32)},
        {**LIKE, "a": [[0.0] * 3] * 2},
        {**LIKE, "a": None},
        {**LIKE, "a": np.float32(3)},
        {**LIKE, "b": 7},
        {**LIKE, "d": np.zeros(1)},
        {"a": LIKE["a"], "b": LIKE["b"]},
        {"a": LIKE["a"], "b": LIKE["b"], "other": LIKE["c"]},
        {"a": LIKE["a"], "b": LIKE["b"], 3: LIKE["c"]},
        {"b": LIKE["b"], "a": LIKE["a"], "c": LIKE["c"]},
        {},
        None,
        [("a", LIKE["a"])] * 3,
        "abc",
        3,
    ],
    ids=lambda it: repr(it)[:60],
)
def test_what_does_not_fit_is_refused(code, unlike):
    assert code.place(unlike, layout_for(**LIKE)[0]) is False


def test_what_is_no_layout_is_an_error(code):
    for layout in (3, (("a",),), (("a", LIKE["a"]),), ((1, 2),)):
        with pytest.raises((TypeError, ValueError, IndexError, SystemError, AttributeError)):
            code.place({"a": LIKE["a"]}, layout)


def test_copies_have_memory_of_their_own(code):
    copied = code.copies(LIKE)
    assert list(copied) == list(LIKE)
    for name, array in LIKE.items():
        assert copied[name].dtype is array.dtype
        assert (copied[name] == array).all()
        assert copied[name].flags.owndata and copied[name].flags.writeable
        assert not np.shares_memory(copied[name], array)


def test_the_most_references_are_those_of_one_of_the_objects(code):
    objects = tuple([np.zeros(1) for _ in range(3)])
    before = code.most_references(objects)
    kept = objects[1]
    assert code.most_references(objects) == before + 1
    del kept
    assert code.most_references(objects) == before
    assert code.most_references(()) == 0


def test_nothing_is_leaked_or_let_go_too_often(code):
    layout, views = layout_for(**LIKE)
    objects = (*LIKE.values(), *views.values(), *LIKE, layout)
    code.place(LIKE, layout)
    before = [sys.getrefcount(it) for it in objects]
    for _ in range(1000):
        code.place(LIKE, layout)
        code.place({**LIKE, "a": None}, layout)
        code.copies(LIKE)
        code.most_references(objects)
    gc.collect()
    assert [sys.getrefcount(it) for it in objects] == before


def test_the_library_is_not_used_where_it_misreads_arrays(native_library):
    def misreading(array):
        address, *others = native_library.describe(array)
        return (address + 8, *others)

    another = SimpleNamespace(set_array_type=native_library.set_array_type, describe=misreading)
    assert native._understands_numpy(native_library)
    assert not native._understands_numpy(another)
    for no_array in (3, None, "array", np.float32(3)):
        with pytest.raises(TypeError, match="not an array"):
            native_library.describe(no_array)
