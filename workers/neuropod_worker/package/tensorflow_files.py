"""What TensorFlow's own files say about a model, read without TensorFlow.

A frozen graph is a serialized ``GraphDef``, ``saved_model.pb`` a ``SavedModel``; of these protocol buffers only
the few fields are read that a packager checks: names of nodes, and of the tensors of a signature.
"""

import os
from typing import Any, Dict, FrozenSet, Iterator, NamedTuple, Tuple

from neuropod_worker.errors import PackageError

# Where a package keeps its model below 0/data, and what a SavedModel must have.
GRAPH = "model.pb"
SAVED_MODEL = "savedmodel"
SIGNATURE = "serving_default"
TAG = "serve"

# Numbers of fields, from TensorFlow's .proto files, which may never change them.
_GRAPH_NODE, _NODE_NAME = 1, 1
_META_GRAPH, _META_INFO, _META_TAGS, _META_SIGNATURES = 2, 1, 4, 5
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS = 1, 2
_MAP_KEY, _MAP_VALUE = 1, 2

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Signature(NamedTuple):
    """The names of the inputs and outputs of a SavedModel's ``serving_default``."""

    inputs: FrozenSet[str]
    outputs: FrozenSet[str]


def graph_nodes(graph: bytes, what: str) -> FrozenSet[str]:
    """The names of all nodes of a serialized ``GraphDef``; ``what`` is for the ``PackageError`` if it is none."""
    try:
        nodes = (value for field, value in _fields(graph) if field == _GRAPH_NODE)
        return frozenset(_text(_one(node, _NODE_NAME)) for node in nodes)
    except (ValueError, IndexError, KeyError, TypeError):
        raise PackageError("{} is no frozen graph, a serialized GraphDef".format(what)) from None


def saved_model_signature(directory: str, what: str) -> Signature:
    """The serving signature of a SavedModel's directory; ``what`` is for the ``PackageError`` where there is none."""
    path = os.path.join(directory, "saved_model.pb")
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        message = "{} is no SavedModel, which is a folder with a saved_model.pb: {}"
        raise PackageError(message.format(what, error.strerror)) from error
    try:
        signatures = _signatures(content)
    except (ValueError, IndexError, KeyError, TypeError):
        raise PackageError("{} is no SavedModel: its saved_model.pb is damaged".format(what)) from None
    if SIGNATURE not in signatures:
        message = "{} has no signature {!r} under the tag {!r}, only {}; export one by that name"
        raise PackageError(message.format(what, SIGNATURE, TAG, sorted(signatures)))
    return signatures[SIGNATURE]


def _signatures(saved_model: bytes) -> Dict[str, Signature]:
    found = {}
    for field, meta_graph in _fields(saved_model):
        if field != _META_GRAPH:
            continue
        parts = list(_fields(meta_graph))
        infos = [value for number, value in parts if number == _META_INFO]
        tags = {_text(value) for info in infos for number, value in _fields(info) if number == _META_TAGS}
        if tags != {TAG}:
            continue
        for name, body in _map(parts, _META_SIGNATURES):
            sides = list(_fields(body))
            inputs, outputs = (
                frozenset(key for key, _ in _map(sides, side)) for side in (_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS)
            )
            found[name] = Signature(inputs, outputs)
    return found


def _map(fields: Any, number: int) -> Iterator[Tuple[str, bytes]]:
    """The items of a protobuf map, which is a repeated message of key and value."""
    for field, entry in fields:
        if field == number:
            item = dict(_fields(entry))
            yield _text(item.get(_MAP_KEY, b"")), item.get(_MAP_VALUE, b"")


def _one(message: bytes, number: int) -> Any:
    return dict(_fields(message))[number]


def _text(value: Any) -> str:
    return str(bytes(value), "utf-8")


def _fields(message: bytes) -> Iterator[Tuple[int, Any]]:
    """The numbers and values of a message's fields. Raises ``ValueError`` or ``IndexError`` for damage."""
    view, at = memoryview(message), 0
    while at < len(view):
        tag, at = _varint(view, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(view, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(view, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("wire type {}".format(kind))
        if at + size > len(view):
            raise ValueError("a field ends behind its message")
        yield tag >> 3, view[at : at + size]
        at += size


def _varint(view: memoryview, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
