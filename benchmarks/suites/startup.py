"""Starts of workers, alone and several at once, and workers that wait."""

from collections.abc import Iterator

from benchmarks.agents import Agents
from benchmarks.figures import Entry
from benchmarks.suites import Plan
from benchmarks.suites.rounds import Row, interleaved
from neuropod_worker.shm.waiting import IDLE_SLICE_S

BARE, OURS = "python -I, import numpy", "neuropod, plain-Python model, first answer"
ALONE = "one"
WAITING = "neuropod, workers that wait"
MANY_WORKERS = "64 workers"
_AT_ONCE = {ALONE: 1, "four at once": 4}
_WORKERS = {"1 worker": 1, MANY_WORKERS: 64}
_QUICK_WORKERS = {"1 worker": 1, "8 workers": 8}
_ROUNDS = 2  # of waiting, for as long as a worker sleeps at a time


def run(plan: Plan, agents: Agents) -> Iterator[Entry]:
    for column, at_once in _AT_ONCE.items():
        how_many = {"at_once": at_once, "longest_s": plan.longest_s}
        rows = [
            Row("python -I", (), "starts:interpreters", {"code": "pass", **how_many}),
            Row(BARE, (), "starts:interpreters", {"code": "import numpy", **how_many}),
            Row(OURS, (), "starts:workers", how_many),
        ]
        yield from interleaved(
            agents, ("startup", "start", column), rows, plan.rounds, {"p50": "ms"}, {"ratio": (BARE,)}
        )
    units = {"CPU": "% of a core", "p50": "µs", "p99": "µs"}
    idle_s = plan.slow_calls_s if plan.quick else IDLE_SLICE_S
    for column, workers in (_QUICK_WORKERS if plan.quick else _WORKERS).items():
        how_long = {"idle_s": idle_s, "calls_s": plan.longest_s}
        rows = [Row(WAITING, (), "starts:waiting", {"workers": workers, **how_long})]
        yield from interleaved(agents, ("startup", "waiting", column), rows, min(plan.rounds, _ROUNDS), units)
