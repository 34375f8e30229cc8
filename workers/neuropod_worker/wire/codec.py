"""Bytes to messages and back.

Expects bytes that were copied out of shared memory (the peer may write while we parse). Gives one of the
types of `wire.messages`, whose fields have the declared types. Raises `ProtocolViolation` for anything else
and never any other exception. A message is a msgpack array: the kind's number, then the fields in order.
"""

from typing import Any, Callable, Dict, List, Optional, Tuple, get_type_hints

import msgpack

from neuropod_worker.errors import NeuropodError
from neuropod_worker.wire.messages import FAILURES, IN_ARENA, IN_FILE, KINDS, PROTOCOL_VERSION, Message, Tensor


class ProtocolViolation(NeuropodError):
    """The peer said something that the protocol does not allow. The worker involved is killed.

    What to do: install neuropod-ope and neuropod-worker in the same version; if they are, native code of the model
    wrote where it should not, or this is a bug of ours.
    """


_Check = Callable[[Any], Any]


def _uint(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("an unsigned integer")
    return value


def _optional_uint(value: Any) -> Optional[int]:
    return None if value is None else _uint(value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("text")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("a boolean")
    return value


def _array(value: Any) -> Tuple[Any, ...]:
    if type(value) is not tuple:
        raise ValueError("an array")
    return value


def _uints(value: Any) -> Tuple[int, ...]:
    return tuple([_uint(item) for item in _array(value)]) if value != () else ()


def _texts(value: Any) -> Optional[Tuple[str, ...]]:
    return None if value is None else tuple([_text(item) for item in _array(value)])


_PLACES = {IN_ARENA: 3, IN_FILE: 4}  # and how many numbers each has


def _tensor(value: Any) -> Tensor:
    if len(_array(value)) != 4:
        raise ValueError("a tensor (name, dtype, shape, place)")
    name, dtype, shape, place = value
    place = _uints(place)
    if not place or len(place) != _PLACES.get(place[0]):
        raise ValueError("a place that this version knows")
    return Tensor(_text(name), _text(dtype), _uints(shape), place)


def _tensors(value: Any) -> Optional[Tuple[Tensor, ...]]:
    return None if value is None else tuple([_tensor(item) for item in _array(value)])


_CHECKS: Dict[Any, _Check] = {
    int: _uint,
    Optional[int]: _optional_uint,
    str: _text,
    bool: _flag,
    Tuple[int, ...]: _uints,
    Optional[Tuple[str, ...]]: _texts,
    Optional[Tuple[Tensor, ...]]: _tensors,
}


def _field_checks(kind: Any) -> List[Tuple[str, _Check]]:
    hints = get_type_hints(kind)
    return [(name, _CHECKS[hints[name]]) for name in kind._fields]


_NUMBER_OF = {kind: number for number, kind in KINDS.items()}
_FIELDS = {number: (kind, _field_checks(kind)) for number, kind in KINDS.items()}
HANDSHAKE = 33  # kinds from here on travel on the socket and carry the protocol version first

_pack = msgpack.Packer(use_bin_type=True).pack


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    packed: bytes = _pack((_NUMBER_OF[type(message)], *message))
    return packed


def decode(data: bytes) -> Message:
    """The message in ``data``. Raises ProtocolViolation."""
    try:
        parts = msgpack.unpackb(data, use_list=False, raw=False, strict_map_key=False)
    except Exception as error:  # msgpack's errors share no root, and every one of them means the same here
        raise ProtocolViolation("a message of {} bytes is not msgpack: {}".format(len(data), error)) from None
    if type(parts) is not tuple or not parts or type(parts[0]) is not int or parts[0] not in _FIELDS:
        raise ProtocolViolation("a message of {} bytes has no known kind".format(len(data)))
    kind, checks = _FIELDS[parts[0]]
    if parts[0] >= HANDSHAKE and parts[1:2] != (PROTOCOL_VERSION,):
        raise ProtocolViolation(
            "the peer speaks protocol version {}, this side {}: install neuropod-ope and neuropod-worker in "
            "the same version".format(parts[1:2], PROTOCOL_VERSION)
        )
    if len(parts) != len(checks) + 1:
        raise ProtocolViolation("{} has {} fields, expected {}".format(kind.__name__, len(parts) - 1, len(checks)))
    values = []
    for value, (name, check) in zip(parts[1:], checks):
        try:
            values.append(check(value))
        except ValueError as expected:
            raise ProtocolViolation(
                "{}.{} is {!r}, expected {}".format(kind.__name__, name, value, expected)
            ) from None
    message = kind(*values)
    if kind.__name__ == "Failed" and message.kind not in FAILURES:
        raise ProtocolViolation("Failed.kind is {!r}, expected one of {}".format(message.kind, FAILURES))
    return message
