"""Whether a version lies in an npm range, for packagers: a warning needs no more than the three numbers.

Pre-releases count as the release that they precede. Who looks for an environment reads ranges strictly, with a
library that Python 3.6 has not.
"""

import re
from typing import List, Tuple

_Version = Tuple[int, ...]

_NUMBERS = 3  # major, minor, patch
_END: _Version = (1 << 62,)
_HYPHEN = re.compile(r"\s*(\S+)\s+-\s+(\S+)\s*$")
_COMPARATOR = re.compile(r"(>=|<=|>|<|=|~|\^|)\s*v?([0-9xX*][0-9xX*.]*)\S*")


def lies_in(version: str, version_range: str) -> bool:
    """``version`` as a framework says it (``2.13.0+cpu``, ``3.14.0rc1``); ``version_range`` looks like a range."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    numbers = _padded([int(number) for number in found.group().split(".")][:_NUMBERS] if found else [])
    return any(_meets_all(numbers, alternative) for alternative in version_range.split("||"))


def _meets_all(version: _Version, comparators: str) -> bool:
    hyphen = _HYPHEN.match(comparators)
    if hyphen:
        comparators = ">={} <={}".format(*hyphen.groups())
    bounds = [_bounds(*found) for found in _COMPARATOR.findall(comparators)]
    return all(low <= version < high for low, high in bounds)


def _bounds(operator: str, text: str) -> Tuple[_Version, _Version]:
    """The first version that a comparator takes, and the first one that it does not take any more."""
    parts: List[int] = []
    for part in text.split("."):
        if not part.isdigit():  # x, X or *: from here on anything
            break
        parts.append(int(part))
    if operator == ">=":
        return _padded(parts), _END
    if operator == ">":
        return _after(parts), _END
    if operator == "<":
        return (), _padded(parts)
    if operator == "<=":
        return (), _after(parts)
    if operator == "~":
        return _padded(parts), _after(parts[:2])
    if operator == "^":
        leading = next((index for index, part in enumerate(parts) if part), len(parts))
        return _padded(parts), _after(parts[: leading + 1])
    return _padded(parts), _after(parts)


def _padded(parts: List[int]) -> _Version:
    return tuple(parts + [0] * (_NUMBERS - len(parts)))


def _after(parts: List[int]) -> _Version:
    """The first version behind all that begin with these numbers."""
    return _padded(parts[:-1] + [parts[-1] + 1]) if parts else _END
