"""A model that answers whatever its problem definition allows. Copied into packages; imports numpy only."""

import json
import os
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import numpy as np

PROBLEM = "problem.json"  # in the data folder: {"inputs": [spec, ...], "outputs": [spec, ...], "seed"}
_LARGEST_FREE_SIZE = 8  # of a dimension that nothing determines
_LARGEST_FREE_RANK = 3
_LARGEST_INTEGER = 100  # which every integer dtype can hold
_LONGEST_STRING = 12
_LETTERS = "abcdefghijklmnopqrstuvwxyz åé漢😀"


def load(data_folder: str) -> Callable[..., Dict[str, np.ndarray]]:
    with open(os.path.join(data_folder, PROBLEM), encoding="utf-8") as file:
        placeholder = Placeholder(**json.load(file))
    return lambda **inputs: placeholder.answer(inputs)  # an input may have any name, "self" too


class Placeholder:
    """Gives all outputs; equal ones for equal seeds, call by call.

    NumPy keeps the stream of a ``RandomState`` the same over its versions.
    """

    def __init__(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]], seed: Optional[int]
    ) -> None:
        self._inputs = {spec["name"]: spec["shape"] for spec in inputs}
        self._outputs = outputs
        self._random = np.random.RandomState(seed)

    def answer(self, inputs: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
        sizes: Dict[str, int] = {}
        for name, array in inputs.items():
            for dimension, size in zip(self._inputs.get(name) or (), array.shape):
                if isinstance(dimension, str):
                    sizes[dimension] = size
        return {
            spec["name"]: self._values(spec["dtype"], self._shape(spec["shape"], sizes)) for spec in self._outputs
        }

    def _shape(self, shape: Optional[Sequence[Any]], sizes: Dict[str, int]) -> Sequence[int]:
        if shape is None:
            shape = [None] * self._up_to(_LARGEST_FREE_RANK)
        return [self._size(dimension, sizes) for dimension in shape]

    def _size(self, dimension: Any, sizes: Dict[str, int]) -> int:
        if isinstance(dimension, int):
            return dimension
        free = self._up_to(_LARGEST_FREE_SIZE)
        return free if dimension is None else sizes.setdefault(dimension, free)

    def _up_to(self, largest: int) -> int:
        return 1 + int(self._random.random_sample() * largest)

    def _values(self, dtype: str, shape: Sequence[int]) -> np.ndarray:
        """Floats from 0 to 1, integers from 0 to 100, words."""
        if dtype == "string":
            words = [self._word() for _ in range(int(np.prod(shape)))]
            return np.array(words, dtype=np.str_).reshape(shape)
        values = np.asarray(self._random.random_sample(shape))
        if dtype == "bool":
            return values < 0.5
        if dtype.startswith("complex"):
            values = values + 1j * self._random.random_sample(shape)
        elif not dtype.startswith("float"):
            values = values * (_LARGEST_INTEGER + 1)
        return values.astype(dtype)

    def _word(self) -> str:
        length = self._up_to(_LONGEST_STRING) - 1
        return "".join(_LETTERS[self._up_to(len(_LETTERS)) - 1] for _ in range(length))
