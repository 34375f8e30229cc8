"""How many calls a second: small ones on their way at once, and long ones of two models at once."""

from collections.abc import Iterator

from benchmarks.agents import Agents
from benchmarks.contenders import PIPE
from benchmarks.figures import Entry
from benchmarks.suites import Plan
from benchmarks.suites.rounds import Row, interleaved

MANY, ASYNC = "neuropod, infer_many, 16 ahead", "neuropod, infer_async, 64 tasks"
PIPE_AHEAD = f"{PIPE}, 16 ahead"
SMALL = "1 KB"
_SMALL_CALLS = {
    "neuropod, infer": "infer",
    MANY: "infer_many",
    "neuropod, submit, 16 ahead": "submit",
    ASYNC: "infer_async",
    PIPE: "pipe",
    PIPE_AHEAD: "pipe, ahead",
}
THREADS, WORKERS = "two models in process, a thread each", "neuropod, two models, a worker each"
TWO_MODELS = "pure Python, 20 ms a call"
_UNITS = {"calls": "1/s"}


def run(plan: Plan, agents: Agents) -> Iterator[Entry]:
    rows = [
        Row(name, (), "throughput:small_calls", {"way": way, "seconds": plan.longest_s})
        for name, way in _SMALL_CALLS.items()
    ]
    yield from interleaved(agents, ("throughput", "small calls", SMALL), rows, plan.rounds, _UNITS)
    rows = [
        Row(name, (), "parallel:pure_python", {"out_of_process": out, "seconds": plan.longest_s})
        for name, out in ((THREADS, False), (WORKERS, True))
    ]
    where = ("throughput", "two models", TWO_MODELS)
    yield from interleaved(agents, where, rows, plan.rounds, _UNITS, {"speed-up": (THREADS,)}, ratio_of="calls")
