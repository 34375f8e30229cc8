"""Tensor specifications, as `input_spec` and `output_spec` of a package declare them."""

from typing import NamedTuple, Optional, Tuple, Union

Dimension = Union[int, str, None]


class TensorSpec(NamedTuple):
    """One tensor of a problem definition.

    ``dtype`` is a canonical name (``float32``, ``string``, ...). ``shape`` holds positive ints, ``None``
    (any size) and symbols (every occurrence in one spec list has the same size at run time); a shape of
    ``None`` as a whole means any rank.
    """

    name: str
    dtype: str
    shape: Optional[Tuple[Dimension, ...]]
