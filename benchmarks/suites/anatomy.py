"""How a call spends its time."""

from collections.abc import Iterator

from benchmarks.agents import Agents
from benchmarks.figures import Entry
from benchmarks.suites import Plan
from benchmarks.suites.rounds import Row, interleaved

_CASES = ("1 KB", "64 KB", "1 MB", "16 MB", "image")
_QUICK_CASES = ("1 KB", "1 MB")


def run(plan: Plan, agents: Agents) -> Iterator[Entry]:
    rows = [
        Row(case, (), "anatomy:phases", {"case": case, "longest_s": plan.longest_s})
        for case in (_QUICK_CASES if plan.quick else _CASES)
    ]
    yield from interleaved(agents, ("anatomy", "one call", "p50, µs"), rows, plan.rounds, {})
