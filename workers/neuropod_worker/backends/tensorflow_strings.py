"""Strings as TensorFlow has them: arrays of ``bytes`` objects, in UTF-8."""

from typing import Any

import numpy as np

from neuropod_worker.errors import SpecError


def encoded(array: np.ndarray) -> np.ndarray:
    """An array to feed: text as bytes, numbers as they are."""
    if array.dtype.kind != "U":
        return array
    texts = np.empty(array.size, dtype=object)
    texts[:] = [text.encode("utf-8") for text in array.ravel().tolist()]
    return texts.reshape(array.shape)


def decoded(name: str, value: Any) -> np.ndarray:
    """An array of a fetched value: numbers as they are, bytes as text."""
    array = np.asarray(value, dtype=object) if isinstance(value, bytes) else np.asarray(value)
    if array.dtype.kind != "O":
        return array
    try:
        return np.array([item.decode("utf-8") for item in array.ravel()], dtype=np.str_).reshape(array.shape)
    except UnicodeDecodeError as error:
        raise SpecError("output {!r} has a string that is not UTF-8: {}".format(name, error), tensor=name) from None
    except AttributeError:
        raise SpecError("output {!r} is no tensor of numbers or strings".format(name), tensor=name) from None
