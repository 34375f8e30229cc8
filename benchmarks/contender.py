"""What is measured: a contender answers calls in some way, a case says how large they are."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np

Call = Callable[[np.ndarray], np.ndarray]


class Case(NamedTuple):
    """One size of the input ``x``, an array of float32; ``calls`` are made of each contender in each round."""

    name: str
    size_bytes: int
    calls: int


class Contender(NamedTuple):
    """One way to have ``x + 0`` computed.

    ``open(size_bytes)`` starts all that it needs, gives the call and ends all of it afterwards: while others
    are measured, nothing of it may run. The answer of a call need be valid only until the next one.
    """

    name: str
    open: Callable[[int], AbstractContextManager[Call]]
