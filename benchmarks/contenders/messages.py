"""Both ends of the peers that carry bytes: tensors as one message, without pickling."""

import numpy as np

from benchmarks.cases import Case


class Sender:
    """Plain arrays as the bytes of one message: those of a lone array themselves, else copied together."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.inputs = case.arrays()
        self._together = np.zeros(case.nbytes, np.uint8)
        self._places = case.views(self._together)

    def message(self) -> memoryview:
        if self._case.count == 1:
            return self.inputs[0].data.cast("B")
        for place, array in zip(self._places, self.inputs, strict=True):
            place[...] = array
        return self._together.data

    def answers(self, message: bytes | memoryview) -> list[np.ndarray]:
        return self._case.views(message)


class Adder:
    """What a worker does: the bytes of the answer to a message."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._answer = np.zeros(case.nbytes, np.uint8)
        self._places = case.views(self._answer)

    def answer(self, message: bytes | memoryview) -> memoryview:
        add(self._case.views(message), self._places)
        return self._answer.data


def add(given: list[np.ndarray], answers: list[np.ndarray]) -> None:
    """The computation, into memory that is there."""
    for x, y in zip(given, answers, strict=True):
        np.add(x, 0, out=y)
