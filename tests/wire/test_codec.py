import msgpack
import pytest
from messages_for_tests import EXAMPLES, HEAD, TIMES

from neuropod_worker.wire import messages as m
from neuropod_worker.wire.codec import ProtocolViolation, decode, encode


def test_every_kind_of_message_has_an_example():
    assert {type(example) for example in EXAMPLES} == set(m.KINDS.values())


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_survives_its_bytes(message):
    decoded = decode(encode(message))
    assert decoded == message
    assert type(decoded) is type(message)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_no_cut_of_a_message_is_a_message_or_another_error(message):
    data = encode(message)
    for length in range(len(data)):
        with pytest.raises(ProtocolViolation):
            decode(data[:length])


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_no_changed_byte_raises_anything_but_a_violation(message):
    data = encode(message)
    for position in range(len(data)):
        for value in (0x00, 0x7F, 0x90, 0xC0, 0xC1, 0xDF, 0xFF, data[position] ^ 1):
            try:
                decode(data[:position] + bytes([value]) + data[position + 1 :])
            except ProtocolViolation:
                pass


def with_field(message, name, value):
    number = next(number for number, kind in m.KINDS.items() if kind is type(message))
    fields = message._replace(**{name: value})
    return msgpack.packb([number, *fields])


@pytest.mark.parametrize(
    ("message", "field", "value", "says"),
    [
        (EXAMPLES[6], "frame", -1, "Infer.frame is -1, expected an unsigned integer"),
        (EXAMPLES[6], "frame", True, "an unsigned integer"),
        (EXAMPLES[6], "released", [1, "x"], "Infer.released"),
        (EXAMPLES[6], "requested", [1], "text"),
        (EXAMPLES[5], "tensors", [["x", "uint8", [1], [9, 0, 1]]], "a place that this version knows"),
        (EXAMPLES[5], "tensors", [["x", "uint8"]], "a tensor"),
        (EXAMPLES[3], "path", b"\xff", "text"),
        (EXAMPLES[3], "validate", 1, "a boolean"),
        (EXAMPLES[12], "received", None, "Result.received is None"),
        (EXAMPLES[12], "released", [{}], "Result.released"),
        (EXAMPLES[13], "kind", "sudden", "Failed.kind is 'sudden'"),
    ],
)
def test_a_field_of_the_wrong_type_is_a_violation_that_names_it(message, field, value, says):
    with pytest.raises(ProtocolViolation) as caught:
        decode(with_field(message, field, value))
    assert says in str(caught.value)


def test_unknown_kinds_and_wrong_counts_are_violations():
    for wrong in ([99], ["Infer"], [], {}, 3, [2, *HEAD], [18, *HEAD, *TIMES, 2, None, "more"]):
        with pytest.raises(ProtocolViolation):
            decode(msgpack.packb(wrong))


def test_another_protocol_version_is_refused_before_its_fields_are_read():
    with pytest.raises(ProtocolViolation, match=r"protocol version .*99.*same version"):
        decode(msgpack.packb([33, 99, "whatever comes later"]))
