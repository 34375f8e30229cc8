"""What is sent: the tensors of a call. The worker answers ``x + 0`` for each of them."""

from typing import Any, NamedTuple

import numpy as np

_ALIGNMENT = 64


class Case(NamedTuple):
    """``count`` tensors of one shape. ``calls`` are measured in each round, or as many as its time allows."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    count: int
    calls: int

    @property
    def tensor_bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        """Of all tensors laid out for `views`."""
        return self._stride * self.count

    @property
    def _stride(self) -> int:
        return -(-self.tensor_bytes // _ALIGNMENT) * _ALIGNMENT if self.count > 1 else self.tensor_bytes

    def views(self, buffer: Any, offset: int = 0) -> list[np.ndarray]:
        """The tensors, one behind the other in ``buffer``."""
        return [
            np.ndarray(self.shape, self.dtype, buffer, offset + number * self._stride) for number in range(self.count)
        ]

    def arrays(self) -> list[np.ndarray]:
        """Plain arrays, as an application has them."""
        return [np.zeros(self.shape, self.dtype) for _ in range(self.count)]


_FLOAT_BYTES = 4


def _floats(name: str, nbytes: int, calls: int) -> Case:
    return Case(name, "float32", (nbytes // _FLOAT_BYTES,), 1, calls)


CASES = {
    case.name: case
    for case in (
        _floats("1 KB", 1 << 10, 4000),
        _floats("64 KB", 1 << 16, 2000),
        _floats("1 MB", 1 << 20, 400),
        _floats("16 MB", 1 << 24, 40),
        _floats("64 MB", 1 << 26, 12),
        # The two cases of the original's benchmark.
        Case("100 × 10×5", "float32", (10, 5), 100, 1000),
        Case("image", "uint8", (1200, 1920, 3), 1, 80),
    )
}
