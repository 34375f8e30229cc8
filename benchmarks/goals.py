"""What the figures should be. Data only; `verdicts` says which of them are.

A goal of the hot path is a ratio to the bare shared-memory row of the same run: absolute times drift.
"""

from typing import NamedTuple

from benchmarks.contenders import ALLOCATED, BARE, BLOCKING, DIRECT, PIPE, PLAIN, SPINNING
from benchmarks.suites import deaths, paced, startup, throughput


class Goal(NamedTuple):
    """A figure, found by its names, that is to be at most, or with ``least`` at least, ``limit``.

    ``against`` are the rows of the same table and column that it is compared with, or, for an absolute goal, that
    tell whether the machine was calm. If one of them was not measured or is too noisy, there is no verdict.
    """

    suite: str
    table: str
    row: str
    column: str
    quantity: str
    limit: float
    against: tuple[str, ...]
    least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit


# Goals and the bare row in microseconds, as they were measured together when the goals were set.
_BARE_US = {"1 KB": 1.9, "64 KB": 4.0, "1 MB": 42.0, "16 MB": 1185.0, "64 MB": 6360.0}
_GOALS_US = {
    PLAIN: {"1 KB": 10.0, "64 KB": 14.0, "1 MB": 48.0, "16 MB": 1300.0, "64 MB": 7000.0},
    ALLOCATED: {"1 KB": 9.0, "64 KB": 11.0, "1 MB": 26.0, "16 MB": 560.0, "64 MB": 3200.0},
}

GOALS: tuple[Goal, ...] = (
    *(
        Goal("latency", "unpinned", row, case, "ratio", goal / _BARE_US[case], (BARE,))
        for row, goals in _GOALS_US.items()
        for case, goal in goals.items()
    ),
    Goal("latency", "unpinned", ALLOCATED, "64 MB", "to in process", 1.0, (DIRECT,)),
    Goal("latency", "unpinned", PLAIN, "100 × 10×5", "p50", 120.0, (BARE,)),
    *(Goal("paced", "1 KB", PLAIN, paced.column(rate), paced.TO_PIPE, 0.7, (PIPE,)) for rate in paced.RATES),
    *(
        Goal("paced", "1 KB", PLAIN, paced.column(rate), paced.TO_THE_BETTER, 1.5, (BLOCKING, SPINNING))
        for rate in paced.RATES
    ),
    Goal(
        "throughput",
        "small calls",
        throughput.MANY,
        throughput.SMALL,
        "calls",
        50_000,
        (throughput.PIPE_AHEAD,),
        True,
    ),
    Goal(
        "throughput",
        "small calls",
        throughput.ASYNC,
        throughput.SMALL,
        "calls",
        15_000,
        (throughput.PIPE_AHEAD,),
        True,
    ),
    Goal(
        "throughput",
        "two models",
        throughput.WORKERS,
        throughput.TWO_MODELS,
        "speed-up",
        1.9,
        (throughput.THREADS,),
        True,
    ),
    *(
        Goal(
            "throughput",
            "instances",
            throughput.TWO_INSTANCES,
            column,
            "speed-up",
            1.0,
            (throughput.ONE_INSTANCE,),
            True,
        )
        for column in throughput.COMPUTING
    ),
    Goal("deaths", "deaths", deaths.OURS, deaths.COLUMN, "p99", 2.0, (PIPE,)),
    # 90 ms where the import of numpy alone takes 60.
    Goal("startup", "start", startup.OURS, startup.ALONE, "ratio", 90 / 60, (startup.BARE,)),
    Goal("startup", "waiting", startup.WAITING, startup.MANY_WORKERS, "CPU", 0.1, ()),
)
