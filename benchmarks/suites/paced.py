"""Calls that are not back to back: 10, 30, 100 and 1000 a second, and none at all."""

from collections.abc import Iterator

from benchmarks.agents import Agents
from benchmarks.contenders import BLOCKING, PIPE, PLAIN, SPINNING
from benchmarks.figures import Entry
from benchmarks.suites import Plan
from benchmarks.suites.rounds import contender_rows, interleaved

RATES = (10, 30, 100, 1000)
TO_PIPE, TO_THE_BETTER = "to Pipe", "to the better of blocking and spinning"
_QUICK_RATES = (30, 1000)
_ROWS = (PLAIN, BLOCKING, SPINNING, PIPE)
_UNITS = {"p50": "µs", "p99": "µs", "CPU": "% of a core"}
_RATIOS = {TO_PIPE: (PIPE,), TO_THE_BETTER: (BLOCKING, SPINNING)}
_CASE = "1 KB"


def column(rate: int) -> str:
    return f"{rate}/s"


def run(plan: Plan, agents: Agents) -> Iterator[Entry]:
    for rate in _QUICK_RATES if plan.quick else RATES:
        rows = contender_rows(_ROWS, "paced:latencies", case=_CASE, rate=rate, seconds=plan.longest_s)
        yield from interleaved(agents, ("paced", _CASE, column(rate)), rows, plan.rounds, _UNITS, _RATIOS)
    rows = contender_rows(_ROWS, "paced:idle", case=_CASE, seconds=plan.longest_s)
    yield from interleaved(agents, ("paced", _CASE, "no calls"), rows, plan.rounds, _UNITS)
