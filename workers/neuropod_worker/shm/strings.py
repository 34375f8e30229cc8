"""String tensors as bytes: (n + 1) int64 end offsets, the first one 0, then the UTF-8 of all elements.

The offsets count from the first byte after themselves; elements are in C order.
"""

from typing import Tuple

import numpy as np

from neuropod_worker.errors import SpecError
from neuropod_worker.wire.codec import ProtocolViolation


def encode_strings(array: np.ndarray) -> np.ndarray:
    """The bytes (uint8, 1-D) of an array of str. Raises SpecError for text that UTF-8 cannot carry."""
    try:
        encoded = [text.encode("utf-8") for text in array.ravel().tolist()]
    except UnicodeEncodeError as error:
        raise SpecError("a string holds what UTF-8 cannot carry: {}".format(error)) from None
    ends = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in encoded], out=ends[1:])
    return np.frombuffer(ends.tobytes() + b"".join(encoded), dtype=np.uint8)


def element_count(shape: Tuple[int, ...]) -> int:
    """The product of sizes, in Python ints: that of hostile sizes must not wrap around."""
    count = 1
    for size in shape:
        count *= size
    return count


def decode_strings(data: bytes, shape: Tuple[int, ...]) -> np.ndarray:
    """The array of str in ``data``, a private copy. Raises ProtocolViolation if the bytes are inconsistent."""
    count = element_count(shape)
    header = 8 * (count + 1)
    if len(data) < header:
        raise ProtocolViolation("{} bytes cannot hold {} strings".format(len(data), count))
    ends = np.frombuffer(data, dtype=np.int64, count=count + 1)
    if ends[0] != 0 or ends[-1] != len(data) - header or (np.diff(ends) < 0).any():
        raise ProtocolViolation("the offsets of {} strings are inconsistent".format(count))
    text = data[header:]
    bounds = ends.tolist()
    try:
        values = [text[start:end].decode("utf-8") for start, end in zip(bounds, bounds[1:])]
    except UnicodeDecodeError as error:
        raise ProtocolViolation("a string is not UTF-8: {}".format(error)) from None
    return np.array(values, dtype=np.str_).reshape(shape)
