"""Rounds in turn: every contender once per round, alone, so that what the machine does meanwhile hits all."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.contender import Call, Case, Contender

_WARM_UP_PART = 5  # one fifth as many calls as are measured
_FLOAT_BYTES = 4
_NS_PER_US = 1000


class Result(NamedTuple):
    """Medians over the rounds of what each round's calls took, in microseconds."""

    case: str
    contender: str
    p50_us: float
    p99_us: float


def measure(cases: Sequence[Case], contenders: Sequence[Contender], rounds: int) -> Iterator[Result]:
    """The results case by case, contenders in the given order."""
    for case in cases:
        x = np.random.default_rng(0).random(case.size_bytes // _FLOAT_BYTES, np.float32)
        durations: list[list[list[float]]] = [[] for _ in contenders]
        for _ in range(rounds):
            for contender, collected in zip(contenders, durations, strict=True):
                with contender.open(case.size_bytes) as call:
                    collected.append(_round(call, x, case.calls, contender.name))
        for contender, collected in zip(contenders, durations, strict=True):
            yield Result(case.name, contender.name, *medians(collected))


def medians(rounds: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The median over rounds of each round's p50, and of its p99."""
    p50, p99 = np.median([np.percentile(durations, (50, 99)) for durations in rounds], axis=0)
    return float(p50), float(p99)


def _round(call: Call, x: np.ndarray, calls: int, name: str) -> list[float]:
    if not np.array_equal(call(x), x):
        raise AssertionError(f"{name} does not compute x + 0")
    for _ in range(calls // _WARM_UP_PART):
        call(x)
    clock = time.perf_counter_ns
    durations = []
    for _ in range(calls):
        start = clock()
        call(x)
        durations.append((clock() - start) / _NS_PER_US)
    return durations
