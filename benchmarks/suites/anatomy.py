"""How a call spends its time."""

from collections.abc import Iterator

from benchmarks.agents import Agents
from benchmarks.contenders import ALL_PLACED, ALLOCATED, PLAIN
from benchmarks.figures import Entry
from benchmarks.suites import Plan
from benchmarks.suites.rounds import Row, interleaved

_QUICK = {"1 KB": (PLAIN, "1 KB"), "1 MB": (PLAIN, "1 MB")}
_ALL = {
    **_QUICK,
    "1 MB, allocated": (ALLOCATED, "1 MB"),
    "1 MB, all placed": (ALL_PLACED, "1 MB"),
    "16 MB": (PLAIN, "16 MB"),
    "16 MB, all placed": (ALL_PLACED, "16 MB"),
    "100 × 10×5": (PLAIN, "100 × 10×5"),
    "image": (PLAIN, "image"),
}


def run(plan: Plan, agents: Agents) -> Iterator[Entry]:
    rows = [
        Row(name, (), "anatomy:phases", {"contender": contender, "case": case, "longest_s": plan.longest_s})
        for name, (contender, case) in (_QUICK if plan.quick else _ALL).items()
    ]
    yield from interleaved(agents, ("anatomy", "one call", "p50, µs"), rows, plan.rounds, {})
