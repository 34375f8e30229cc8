"""Tensor specs from what JSON files and users of the packagers write."""

import operator
from typing import Any, Iterable, Mapping, Optional, Tuple, Union

from neuropod_worker.errors import SpecError
from neuropod_worker.problem.dtypes import canonical_dtype
from neuropod_worker.problem.specs import Dimension, TensorSpec

Specs = Iterable[Union[Mapping[str, Any], TensorSpec]]


def parse_specs(items: Specs, role: str) -> Tuple[TensorSpec, ...]:
    """The specs of a list of ``{"name", "dtype", "shape"}`` or ``TensorSpec``, dtypes canonicalised.

    ``role`` (``"input"`` or ``"output"``) only words the errors. Raises ``SpecError``.
    """
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        raise SpecError("the {} spec must be a list of tensors, not {!r}".format(role, items))
    specs = tuple(_parse_spec(item, role) for item in items)
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise SpecError("{} {!r} is specified more than once".format(role, name), tensor=name)
    return specs


def _parse_spec(item: Any, role: str) -> TensorSpec:
    if isinstance(item, TensorSpec):
        item = item._asdict()
    if not isinstance(item, Mapping):
        raise SpecError("each {} must be a dict of name, dtype and shape, not {!r}".format(role, item))
    name = item.get("name")
    if not isinstance(name, str) or not name:
        raise SpecError("an {} has no name: {!r}".format(role, dict(item)))
    for key in ("dtype", "shape"):
        if key not in item:
            raise SpecError("{} {!r} has no {!r}".format(role, name, key), tensor=name)
    try:
        return TensorSpec(name, canonical_dtype(item["dtype"]), _parse_shape(item["shape"]))
    except ValueError as error:
        raise SpecError("{} {!r}: {}".format(role, name, error), tensor=name) from None


def _parse_shape(shape: Any) -> Optional[Tuple[Dimension, ...]]:
    if shape is None:
        return None
    if isinstance(shape, (str, bytes, Mapping)) or not isinstance(shape, Iterable):
        raise ValueError("the shape must be a list of dimensions or None, not {!r}".format(shape))
    return tuple(_parse_dimension(dimension) for dimension in shape)


def _parse_dimension(dimension: Any) -> Dimension:
    if dimension is None or (isinstance(dimension, str) and dimension):
        return dimension
    try:
        size = 0 if isinstance(dimension, bool) else operator.index(dimension)
    except TypeError:
        size = 0
    if size < 1:
        raise ValueError("a dimension must be a positive int, None or a symbol, not {!r}".format(dimension))
    return size
