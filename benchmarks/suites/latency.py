"""Calls back to back: the issue's table, sizes as columns and contenders as rows."""

from collections.abc import Iterator, Sequence

from benchmarks.agents import Agents
from benchmarks.cases import CASES
from benchmarks.contenders import (
    ALLOCATED,
    BARE,
    BLOCKING,
    CONTENDERS,
    DIRECT,
    IN_PLACE,
    IN_PROCESS,
    PIPE,
    PLAIN,
    SHARED_MEMORY_PIPE,
    SPINNING,
)
from benchmarks.figures import Entry
from benchmarks.placement import ONE_CORE, OWN_CORES, UNPINNED
from benchmarks.suites import Plan
from benchmarks.suites.rounds import contender_rows, interleaved

_UNITS = {"p50": "µs", "p99": "µs"}
_RATIOS = {"ratio": (BARE,), "to in process": (DIRECT,)}
_ELSEWHERE = {BLOCKING, SPINNING}  # in the suite of paced calls
_SLOW_TO_START = {"Ray actor, by value"}  # seconds for each round, so not in a quick run
_QUICK_CASES = ("1 KB", "1 MB")
_PINNED_CASES = ("1 KB", "1 MB", "100 × 10×5")
_QUICK_PINNED = (BARE, PLAIN, PIPE)
_PINNED = (BARE, IN_PLACE, DIRECT, IN_PROCESS, PLAIN, ALLOCATED, PIPE, SHARED_MEMORY_PIPE)


def run(plan: Plan, agents: Agents) -> Iterator[Entry]:
    left_out = _ELSEWHERE | _SLOW_TO_START if plan.quick else _ELSEWHERE
    names = [name for name in CONTENDERS if name not in left_out]
    yield from _table(plan, agents, "latency", UNPINNED, names, _QUICK_CASES if plan.quick else tuple(CASES))


def run_pinned(plan: Plan, agents: Agents) -> Iterator[Entry]:
    for placement in (OWN_CORES, ONE_CORE):
        if plan.quick:
            yield from _table(plan, agents, "pinned", placement, _QUICK_PINNED, _PINNED_CASES[:1])
        else:
            yield from _table(plan, agents, "pinned", placement, _PINNED, _PINNED_CASES)


def _table(
    plan: Plan, agents: Agents, suite: str, placement: str, names: Sequence[str], cases: Sequence[str]
) -> Iterator[Entry]:
    for case in cases:
        rows = contender_rows(
            names, "round_trips:latencies", case=case, longest_s=plan.longest_s, placement=placement
        )
        yield from interleaved(agents, (suite, placement, case), rows, plan.rounds, _UNITS, _RATIOS)
