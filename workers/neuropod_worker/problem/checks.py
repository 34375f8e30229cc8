"""Real tensors against a problem definition.

The checks look at names, dtypes and shapes only, never at data: a caller may cache a verdict by them.
Byte order does not matter. Strings are numpy unicode arrays (dtype kind ``U``). A missing tensor is fine.
"""

from typing import Any, Dict, Iterable, Mapping, Optional, Sequence, Tuple

import numpy as np

from neuropod_worker.errors import SpecError
from neuropod_worker.problem.dtypes import dtype_name
from neuropod_worker.problem.specs import TensorSpec

Arrays = Dict[str, np.ndarray]


def check_inputs(specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ``SpecError`` unless every array fits the input spec of its name."""
    _check("input", specs, arrays)


def check_outputs(specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ``SpecError`` unless every array fits the output spec of its name."""
    _check("output", specs, arrays)


def select_outputs(specs: Sequence[TensorSpec], requested: Optional[Iterable[str]]) -> Tuple[str, ...]:
    """The names of the requested outputs, all for ``None``. Raises ``SpecError`` for what names none."""
    known = tuple(spec.name for spec in specs)
    if requested is None:
        return known
    if isinstance(requested, (str, bytes)) or not isinstance(requested, Iterable):
        kind = type(requested).__name__
        raise SpecError("requested outputs must be a list of names, not the {} {!r}".format(kind, requested))
    names = tuple(requested)
    for name in names:
        if not isinstance(name, str):
            raise SpecError("requested outputs must be a list of names, and {!r} is none".format(name))
        if name not in known:
            raise _unknown("output", name, known)
    return names


def _check(role: str, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> None:
    by_name = {spec.name: spec for spec in specs}
    symbols: Dict[str, Tuple[int, str]] = {}
    for name, array in arrays.items():
        spec = by_name.get(name)
        if spec is None:
            raise _unexpected(role, name, tuple(by_name))
        dtype = dtype_name(array.dtype)
        if dtype != spec.dtype:
            raise _misfit(role, spec, "dtype should be {}, but is {}".format(spec.dtype, dtype))
        if spec.shape is not None:
            _check_shape(role, spec, tuple(array.shape), symbols)


def _check_shape(role: str, spec: TensorSpec, shape: Tuple[int, ...], symbols: Dict[str, Tuple[int, str]]) -> None:
    expected = spec.shape or ()
    if len(shape) != len(expected):
        message = "should have {} dimensions {}, but has {}: {}"
        raise _misfit(role, spec, message.format(len(expected), _shown(expected), len(shape), shape))
    for axis, (want, size) in enumerate(zip(expected, shape)):
        if isinstance(want, str):
            first, where = symbols.setdefault(want, (size, spec.name))
            if size != first:
                message = "dimension {} should be {} (the symbol {!r}, as in {} {!r}), but is {}: {}"
                raise _misfit(role, spec, message.format(axis, first, want, role, where, size, shape))
        elif want is not None and size != want:
            message = "dimension {} should be {}, but is {}: {} does not fit {}"
            raise _misfit(role, spec, message.format(axis, want, size, shape, _shown(expected)))


def _shown(shape: Tuple[Any, ...]) -> str:
    return "({})".format(", ".join("*" if size is None else str(size) for size in shape))


def _misfit(role: str, spec: TensorSpec, what: str) -> SpecError:
    whose = "the model returned " if role == "output" else ""
    return SpecError("{}{} {!r}: {}".format(whose, role, spec.name, what), tensor=spec.name)


def _unexpected(role: str, name: str, known: Tuple[str, ...]) -> SpecError:
    if role == "input":
        return _unknown(role, name, known)
    message = "the model returned {!r}, which is no output of its problem definition: {}"
    return SpecError(message.format(name, _listed(known)), tensor=name)


def _unknown(role: str, name: str, known: Tuple[str, ...]) -> SpecError:
    message = "there is no {} {!r}; the model's {}s are {}"
    return SpecError(message.format(role, name, role, _listed(known)), tensor=name)


def _listed(names: Tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
