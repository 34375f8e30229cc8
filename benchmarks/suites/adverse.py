"""What else a caller may have to cope with, and a worker that is busy for long."""

from collections.abc import Iterator

from benchmarks import adversities
from benchmarks.agents import Agents
from benchmarks.contenders import BLOCKING, PIPE, PLAIN, SHARED_MEMORY_PIPE, SPINNING
from benchmarks.figures import Entry
from benchmarks.suites import Plan
from benchmarks.suites.rounds import Row, contender_rows, interleaved

_ROWS = (PLAIN, BLOCKING, SPINNING, PIPE, SHARED_MEMORY_PIPE)
_QUICK_ROWS = (PLAIN, PIPE, SHARED_MEMORY_PIPE)
_WAYS = {PLAIN: "adaptive", BLOCKING: "block", SPINNING: "spin", PIPE: "pipe"}
_CASE = "1 KB"
_CALLS = 2
_UNITS = {"p50": "µs", "p99": "µs", "mean": "µs"}
_RATIOS = {"to Pipe": (PIPE,)}


def run(plan: Plan, agents: Agents) -> Iterator[Entry]:
    for name in adversities.NAMES:
        rows = contender_rows(
            _QUICK_ROWS if plan.quick else _ROWS,
            "adverse:latencies",
            case=_CASE,
            longest_s=plan.longest_s,
            against=name,
        )
        yield from interleaved(agents, ("adverse", _CASE, name), rows, plan.rounds, _UNITS, _RATIOS)
    arguments = {"seconds": plan.longest_s, "calls": _CALLS}
    rows = [Row(name, (), "busy_worker:answer", {"way": way, **arguments}) for name, way in _WAYS.items()]
    column = f"worker busy for {plan.longest_s:.1f} s"
    units = {"delay": "µs", "caller's CPU": "% of a core"}
    yield from interleaved(agents, ("adverse", "busy worker", column), rows, plan.rounds, units)
