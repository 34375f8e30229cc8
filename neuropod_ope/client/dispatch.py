"""Which of several instances gets the next request. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Standing(NamedTuple):
    """``live``: its worker serves. ``unanswered``: how many requests it has, queued ones included."""

    live: bool
    unanswered: int


def least_busy(standings: Sequence[Standing]) -> int:
    """The index of the live instance with the fewest requests, of a dead one only if none lives.

    The first of equals: a lone caller meets the same worker again and again, and finds it warm.
    """
    return min(range(len(standings)), key=lambda index: (not standings[index].live, standings[index].unanswered))
