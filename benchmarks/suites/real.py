"""A real network: what out-of-process costs where a call computes for milliseconds."""

from collections.abc import Iterator

from benchmarks.agents import Agents
from benchmarks.figures import Entry
from benchmarks.suites import Plan
from benchmarks.suites.rounds import Row, interleaved

_PACKAGES = ("torch==2.13.0", "msgpack", "posix_ipc", "packaging", "node-semver", "uv")
_HERE = "torch 2.13 CNN, in process"
_WAYS = {
    _HERE: "in process",
    "torch 2.13 CNN, out of process: plain array": "plain",
    "torch 2.13 CNN, out of process: allocated input": "allocated",
}
_SHAPES = {"224×224×3": (224, 224, 3), "1200×1920×3": (1200, 1920, 3)}
_QUICK_SHAPES = {"224×224×3": (224, 224, 3)}


def run(plan: Plan, agents: Agents) -> Iterator[Entry]:
    for column, shape in (_QUICK_SHAPES if plan.quick else _SHAPES).items():
        rows = [
            Row(name, _PACKAGES, "real:latencies", {"way": way, "shape": shape, "longest_s": plan.longest_s})
            for name, way in _WAYS.items()
        ]
        units = {"p50": "ms", "p99": "ms"}
        yield from interleaved(
            agents, ("real", "image", column), rows, plan.rounds, units, {"to in process": (_HERE,)}
        )
