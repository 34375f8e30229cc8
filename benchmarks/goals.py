"""What the figures should be, and which of them are. Pure.

A goal of the hot path is a ratio to the bare shared-memory row of the same run: absolute times drift.
"""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.contenders import PLAIN
from benchmarks.figures import Entry, Figure
from benchmarks.report import aligned, number


class Goal(NamedTuple):
    """A figure, found by its names, that is to be at most, or with ``least`` at least, ``limit``."""

    suite: str
    table: str
    row: str
    column: str
    quantity: str
    limit: float
    least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit


# Goal and bare row in microseconds, as they were measured together when the goals were set.
_BARE_US = {"1 KB": 1.9, "64 KB": 4.0, "1 MB": 42.0, "16 MB": 1185.0, "64 MB": 6360.0}
_PLAIN_US = {"1 KB": 10.0, "64 KB": 14.0, "1 MB": 48.0, "16 MB": 1300.0, "64 MB": 7000.0}

GOALS: tuple[Goal, ...] = (
    *(Goal("latency", "unpinned", PLAIN, case, "ratio", _PLAIN_US[case] / bare) for case, bare in _BARE_US.items()),
    Goal("latency", "unpinned", PLAIN, "100 × 10×5", "p50", 120.0),
)


def verdicts(entries: Sequence[Entry], goals: Sequence[Goal] = GOALS) -> str:
    """A table of the goals whose figures were measured; empty if none was."""
    figures = {one[:5]: one for one in entries if isinstance(one, Figure)}
    lines = [["goal", "is", "should be", ""]]
    for goal in goals:
        figure = figures.get(goal[:5])
        if figure is not None:
            name = f"{goal.suite}: {goal.row}: {goal.column}: {goal.quantity}"
            limit = f"{'≥' if goal.least else '≤'} {number(goal.limit)} {figure.unit}".strip()
            met = "met" if goal.met(figure.value) else "missed"
            lines.append([name, f"{number(figure.value)} {figure.unit}".strip(), limit, met])
    return aligned(lines) if len(lines) > 1 else ""
