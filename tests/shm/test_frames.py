import gc

import numpy as np
import pytest

from neuropod_worker.errors import SpecError
from neuropod_worker.shm.arena import arena_over
from neuropod_worker.shm.frames import NUMERIC, ReceivingFrames, SendingFrames, drain
from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.shm.strings import decode_strings, encode_strings
from neuropod_worker.wire.codec import ProtocolViolation
from neuropod_worker.wire.messages import IN_ARENA, Tensor

SIZE = 2**30


@pytest.fixture
def sides(make_segment):
    fd = make_segment(SIZE)
    mapping = Mapping(fd, SIZE)
    arena = arena_over(fd, mapping)
    return SendingFrames(arena, mapping), ReceivingFrames(Mapping(fd, SIZE)), arena


def key_of(arrays):
    return tuple(part for name, array in arrays.items() for part in (name, array.dtype, array.shape))


def cross(sides, arrays):
    """Send once and read; returns the sent frame and copies of what arrived."""
    sending, receiving, _ = sides
    sent = sending.acquire(key_of(arrays), arrays)
    received = receiving.frame(sent.id, sent.tensors)
    sent.tensors = None
    return sent, received.copies()


SHAPES = {"scalar": (), "empty": (0, 3), "vector": (7,), "cube": (2, 3, 4), "large": (1000, 1001)}


@pytest.mark.parametrize("dtype", sorted(NUMERIC))
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_numbers_of_every_dtype_and_shape_arrive(sides, dtype, shape):
    values = (np.arange(np.prod(shape)) % 100).reshape(shape).astype(dtype)
    _, arrived = cross(sides, {"x": values})
    assert arrived["x"].dtype == values.dtype
    assert arrived["x"].shape == shape
    assert (arrived["x"] == values).all()


@pytest.mark.parametrize(
    "texts",
    [
        np.array(["a", "", "straße", "日本語", "👩‍🚀🚀"]),
        np.array([["one", "two"], ["three", "four"]]),
        np.array("alone"),
        np.zeros((0, 2), dtype="U1"),
        np.array(["", ""]),
    ],
    ids=["mixed", "matrix", "scalar", "none", "empty"],
)
def test_strings_of_any_rank_arrive(sides, texts):
    sent, arrived = cross(sides, {"x": texts, "n": np.arange(3)})
    assert arrived["x"].shape == texts.shape
    assert arrived["x"].tolist() == texts.tolist()
    assert arrived["n"].tolist() == [0, 1, 2]
    sides[0].release([sent.id])
    assert sides[2].in_use == 0
    sides[1].retire(drain(sides[0].retired))


def test_text_that_utf8_cannot_carry_is_an_error_before_anything_is_allocated(sides):
    with pytest.raises(SpecError, match="UTF-8"):
        cross(sides, {"x": np.array(["\ud800"])})
    assert sides[2].in_use == 0


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        np.array([0, 2, 1], "i8").tobytes() + b"a",
        np.array([0, 1, 99], "i8").tobytes() + b"a",
        np.array([0, -1, 1], "i8").tobytes() + b"a",
        np.array([0, 1, 2], "i8").tobytes() + b"\xff\xff",
        np.array([1, 1, 2], "i8").tobytes() + b"ab",
    ],
)
def test_inconsistent_string_bytes_are_a_violation(wrong):
    with pytest.raises(ProtocolViolation):
        decode_strings(wrong, (2,))


def test_string_bytes_are_as_documented():
    assert encode_strings(np.array(["ab", "", "ü"])).tobytes() == (
        np.array([0, 2, 2, 4], "<i8").tobytes() + "abü".encode()
    )


def test_what_does_not_lie_in_order_in_memory_arrives_in_order(sides):
    base = np.arange(24, dtype=np.int32).reshape(4, 6)
    arrays = {"t": base.T, "step": base[::2, ::-3], "big": base.astype(">i4"), "f": np.asfortranarray(base)}
    _, arrived = cross(sides, arrays)
    for name, array in arrays.items():
        assert arrived[name].dtype.isnative
        assert (arrived[name] == array).all()


def test_a_released_frame_is_used_again_for_the_same_signature(sides):
    sending, receiving, arena = sides
    first, _ = cross(sides, {"x": np.zeros(10)})
    sending.release([first.id])
    held = arena.in_use
    arrays = {"x": np.ones(10)}
    again = sending.acquire(key_of(arrays), arrays)
    assert again is first and again.tensors is None
    assert (receiving.frame(again.id, None).views[0] == 1).all()
    assert arena.in_use == held


def test_a_frame_in_flight_is_not_used_for_another_request(sides):
    first, _ = cross(sides, {"x": np.zeros(10)})
    second, _ = cross(sides, {"x": np.ones(10)})
    assert first.id != second.id
    assert (sides[1].frame(first.id, None).views[0] == 0).all()


def test_frames_of_many_signatures_are_retired_and_their_memory_is_reused(sides):
    sending, receiving, arena = sides
    for size in range(1, 400):
        sent, _ = cross(sides, {"x": np.zeros(size * 1000, np.uint8)})
        sending.release([sent.id])
        receiving.retire(drain(sending.retired))
    assert arena.committed < 100 * 2**20
    assert len(receiving._frames) <= 64


def test_a_frame_whose_message_was_never_sent_is_dropped_unannounced(sides):
    sending, _, arena = sides
    arrays = {"x": np.zeros(10)}
    sending.release([sending.acquire(key_of(arrays), arrays).id])
    assert arena.in_use == 0
    assert not sending.retired


def test_what_was_not_lent_cannot_be_released_and_what_was_not_defined_cannot_be_used(sides):
    sending, receiving, _ = sides
    with pytest.raises(ProtocolViolation):
        sending.release([1])
    with pytest.raises(ProtocolViolation):
        receiving.frame(1, None)
    with pytest.raises(ProtocolViolation):
        receiving.retire([1])
    cross(sides, {"x": np.zeros(1)})
    with pytest.raises(ProtocolViolation, match="twice"):
        receiving.frame(1, ())


@pytest.mark.parametrize(
    ("dtype", "shape", "offset", "nbytes"),
    [
        ("uint8", (64,), SIZE, 64),
        ("uint8", (64,), SIZE - 64 + 64, 1),
        ("uint8", (2**40,), 0, 2**40),
        ("uint8", (64,), 2**64 - 64, 64),
        ("float32", (10,), 34, 40),
        ("uint8", (10,), 0, 11),
        ("float64", (2**32, 2**32), 0, 0),
        ("object", (1,), 0, 8),
        ("float32", (3,), 0, 10),
        ("uint8", (1,) * 70, 0, 1),
        ("uint8", (0, 2**63), 0, 0),
    ],
)
def test_a_place_that_cannot_be_is_a_violation(sides, dtype, shape, offset, nbytes):
    tensor = Tensor("x", dtype, shape, (IN_ARENA, offset, nbytes))
    with pytest.raises(ProtocolViolation):
        sides[1].frame(1, (tensor,))


def test_a_message_too_long_for_a_slot_crosses_through_the_arena(sides):
    sending, receiving, arena = sides
    place = sending.put_bytes(b"m" * 100_000)
    assert receiving.take_bytes(place) == b"m" * 100_000
    sending.release([place.frame])
    assert arena.in_use == 0


def test_a_view_of_a_view_keeps_the_memory(sides):
    sending, receiving, _ = sides
    arrays = {"x": np.arange(1000.0)}
    sent = sending.acquire(key_of(arrays), arrays)
    view = receiving.frame(sent.id, sent.tensors).views[0].reshape(10, 100)[3:5].T[::2]
    expected = view.copy()
    del sending, receiving, sides
    gc.collect()
    assert (view == expected).all()
