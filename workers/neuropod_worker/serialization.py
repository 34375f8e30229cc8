"""Tensors as bytes and back: for files, queues and networks. Nothing is pickled.

====== ============== ==================================================================================
offset bytes          content
====== ============== ==================================================================================
0      8              ``NPODTNSR``
8      4              version of this format, u32 little-endian: 1
12     4              what follows, u32 little-endian: 1 one tensor, 2 tensors by name
16     to the end     1: the bytes of an ``.npy`` file; 2: of an uncompressed ``.npz`` file, a member ``NAME.npy``
                      for each tensor (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html)
====== ============== ==================================================================================

Equal tensors give equal bytes.
"""

import io
import struct
from typing import Any, Mapping, Union

import numpy as np

from neuropod_worker.errors import SpecError
from neuropod_worker.package.tensors_file import read_arrays, write_arrays
from neuropod_worker.problem.checks import Arrays

_MAGIC = b"NPODTNSR"
_VERSION = 1
_HEAD = struct.Struct("<8sII")
_ONE, _BY_NAME = 1, 2


def serialize(tensors: Union[np.ndarray, Mapping[str, Any]]) -> bytes:
    """The bytes of a tensor, or of tensors by name. Raises ``SpecError`` for what holds Python objects."""
    file = io.BytesIO()
    if isinstance(tensors, Mapping):
        file.write(_HEAD.pack(_MAGIC, _VERSION, _BY_NAME))
        for name in tensors:
            if not isinstance(name, str):
                raise SpecError("tensors must be named by text, not {!r}".format(name))
        members = io.BytesIO()
        write_arrays(members, {name: _numbers_or_text(value) for name, value in tensors.items()})
        file.write(members.getbuffer())
    else:
        file.write(_HEAD.pack(_MAGIC, _VERSION, _ONE))
        np.lib.format.write_array(file, _numbers_or_text(tensors), allow_pickle=False)
    return file.getvalue()


def deserialize(data: bytes) -> Union[np.ndarray, Arrays]:
    """What ``serialize`` was given. Raises ``ValueError`` for bytes that are none of its."""
    magic, version, kind = _HEAD.unpack_from(data) if len(data) >= _HEAD.size else (b"", 0, 0)
    if magic != _MAGIC:
        raise ValueError(
            "these {} bytes are no serialized tensors: they do not start with {!r}".format(len(data), _MAGIC)
        )
    if version != _VERSION or kind not in (_ONE, _BY_NAME):
        message = "serialized tensors of version {} and kind {}; this release reads version {}, kinds 1 and 2"
        raise ValueError(message.format(version, kind, _VERSION))
    content = io.BytesIO(memoryview(data)[_HEAD.size :])
    if kind == _BY_NAME:
        return read_arrays(content)
    try:
        array: np.ndarray = np.lib.format.read_array(content, allow_pickle=False)
    except Exception as error:  # damage shows as any error of numpy or of Python's tokenizer
        raise ValueError("the serialized tensor is damaged: {}".format(error)) from error
    return array


def _numbers_or_text(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat):
        array = array.astype(np.str_)
    if array.dtype.hasobject:
        raise SpecError("a tensor holds numbers or text, not {!r}".format(value))
    return array
