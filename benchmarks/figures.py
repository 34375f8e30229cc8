"""What a run yields: figures, and reasons where there is none. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class NotPossible(Exception):
    """Something cannot be measured on this machine; the message is the reason, for people."""


class Figure(NamedTuple):
    """One number: the first four say of what; ``quantity`` is "p50", "CPU" or the like.

    ``spread`` is the middle half of the rounds' values (their interquartile range) as a part of ``value``.
    """

    suite: str
    table: str
    row: str
    column: str
    quantity: str
    value: float
    unit: str
    spread: float = 0.0


class Missing(NamedTuple):
    """A row without figures, or without those of one column ("": of all)."""

    suite: str
    table: str
    row: str
    column: str
    reason: str


Entry = Figure | Missing


def median_and_spread(rounds: Sequence[float]) -> tuple[float, float]:
    """Of a quantity over the rounds: one disturbed round does not show."""
    lower, median, upper = np.percentile(rounds, (25, 50, 75))
    return float(median), float((upper - lower) / median) if median else 0.0


def ratios(rounds: Sequence[float], *references: Sequence[float]) -> list[float]:
    """To the least of the references, within each round: so a machine that drifts from round to round cancels out."""
    return [ours / min(theirs) for ours, *theirs in zip(rounds, *references, strict=True)]


def as_data(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    return [entry._asdict() for entry in entries]


def from_data(data: Sequence[Mapping[str, Any]]) -> list[Entry]:
    return [Missing(**one) if "reason" in one else Figure(**one) for one in data]
