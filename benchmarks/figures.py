"""What a run yields: figures, and reasons where there is none. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class NotPossible(Exception):
    """Something cannot be measured on this machine; the message is the reason, for people."""


class Figure(NamedTuple):
    """One number: the first four say of what; ``quantity`` is "p50", "CPU" or the like."""

    suite: str
    table: str
    row: str
    column: str
    quantity: str
    value: float
    unit: str


class Missing(NamedTuple):
    """A row without figures, or without those of one column ("": of all)."""

    suite: str
    table: str
    row: str
    column: str
    reason: str


Entry = Figure | Missing


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each quantity, over the rounds: one disturbed round does not show."""
    return {quantity: float(np.median([one[quantity] for one in rounds])) for quantity in rounds[0]}


def median_ratio(rounds: Sequence[float], reference: Sequence[float]) -> float:
    """The median of the ratios within each round, so that a machine that drifts from round to round cancels out."""
    return float(np.median([ours / theirs for ours, theirs in zip(rounds, reference, strict=True)]))


def as_data(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    return [entry._asdict() for entry in entries]


def from_data(data: Sequence[Mapping[str, Any]]) -> list[Entry]:
    return [Missing(**one) if "reason" in one else Figure(**one) for one in data]
