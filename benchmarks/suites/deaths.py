"""Workers that are killed in the middle of a call."""

from collections.abc import Iterator

from benchmarks.agents import Agents
from benchmarks.contenders import PIPE
from benchmarks.figures import Entry
from benchmarks.suites import Plan
from benchmarks.suites.rounds import Row, interleaved

OURS, STANDBY = "neuropod", "neuropod, one standby worker"
COLUMN = "killed in a call"
_WAYS = {OURS: "neuropod", STANDBY: "standby", PIPE: "pipe"}
_FEWEST = 2
_DEATHS_PER_S = 14  # with the start of another worker


def run(plan: Plan, agents: Agents) -> Iterator[Entry]:
    deaths = max(_FEWEST, int(_DEATHS_PER_S * plan.longest_s))
    rows = [Row(name, (), "deaths:times", {"way": way, "deaths": deaths}) for name, way in _WAYS.items()]
    units = {"p50": "ms", "p99": "ms", "next answer": "ms"}
    yield from interleaved(agents, ("deaths", "deaths", COLUMN), rows, plan.rounds, units)
