"""Calls back to back, one after the other."""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases import CASES, Case
from benchmarks.contenders import CONTENDERS, Exchange
from benchmarks.placement import placed
from benchmarks.units import NS_PER_US

_WARM_UP_S = 0.3  # the kernel may start both sides on one core, and take a tenth of a second to part them
_LEAST_CALLS = 5


def latencies(contender: str, case: str, longest_s: float, placement: str) -> dict[str, float]:
    """p50 and p99 of a round, in microseconds."""
    return percentiles(round_of(contender, case, longest_s, placement))


def round_of(contender: str, case: str, longest_s: float, placement: str) -> list[float]:
    """Durations in microseconds. A round ends after the case's number of calls or ``longest_s``."""
    the_case = CASES[case]
    with placed(placement) as place_workers, CONTENDERS[contender].open(the_case) as exchange:
        place_workers()
        check(exchange, the_case, contender)
        warm_up(exchange.call, longest_s)
        return durations(exchange.call, the_case.calls, longest_s)


def warm_up(call: Callable[[], Any], longest_s: float) -> None:
    """Until both sides run where they will stay, but no longer than they are measured."""
    durations(call, sys.maxsize, min(_WARM_UP_S, longest_s))


def check(exchange: Exchange, case: Case, contender: str) -> None:
    """Raise AssertionError unless it computes ``x + 0`` of what its inputs hold, and then of something else."""
    random = np.random.default_rng(0)
    for _ in range(2):
        for x in exchange.inputs:
            x[...] = random.integers(0, 255, case.shape)
        for x, y in zip(exchange.inputs, exchange.call(), strict=True):
            if not (np.array_equal(x, y) and x.dtype == y.dtype):
                raise AssertionError(f"{contender} does not compute x + 0")


def durations(call: Callable[[], Any], calls: int, longest_s: float) -> list[float]:
    """Of calls, in microseconds; at least a few, then until the number or the time is reached."""
    clock = time.perf_counter_ns
    latest = clock() + int(longest_s * 1e9)
    taken = []
    for number in range(calls):
        start = clock()
        call()
        end = clock()
        taken.append((end - start) / NS_PER_US)
        if end > latest and number >= _LEAST_CALLS:
            break
    return taken


def percentiles(taken: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(taken, (50, 99))
    return {"p50": float(p50), "p99": float(p99)}
