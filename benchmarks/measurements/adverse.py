"""Calls of a caller that has more to cope with than its calls."""

import numpy as np

from benchmarks.adversities import adversity
from benchmarks.measurements.round_trips import percentiles, round_of
from benchmarks.placement import UNPINNED


def latencies(contender: str, case: str, longest_s: float, against: str) -> dict[str, float]:
    """Of calls back to back, in microseconds: p50, p99, and the mean, which shows rare and long ones."""
    with adversity(against):
        taken = round_of(contender, case, longest_s, UNPINNED)
    return {**percentiles(taken), "mean": float(np.mean(taken))}
