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
ONE_INSTANCE, TWO_INSTANCES = "neuropod, two callers, instances=1", "neuropod, two callers, instances=2"
COMPUTING = {"pure Python, 20 ms a call": "pure Python", "matrix products": "numpy"}
_UNITS = {"calls": "1/s"}


def run(plan: Plan, agents: Agents) -> Iterator[Entry]:
    rows = [
        Row(name, (), "throughput:small_calls", {"way": way, "seconds": plan.longest_s})
        for name, way in _SMALL_CALLS.items()
    ]
    yield from interleaved(agents, ("throughput", "small calls", SMALL), rows, plan.rounds, _UNITS)
    rows = [
        Row(name, (), "parallel:two_models", {"out_of_process": out, "seconds": plan.slow_calls_s})
        for name, out in ((THREADS, False), (WORKERS, True))
    ]
    where = ("throughput", "two models", TWO_MODELS)
    yield from interleaved(agents, where, rows, plan.rounds, _UNITS, {"speed-up": (THREADS,)}, ratio_of="calls")
    for column, model in COMPUTING.items():
        rows = [
            Row(name, (), "parallel:instances", {"model": model, "count": count, "seconds": plan.slow_calls_s})
            for name, count in ((ONE_INSTANCE, 1), (TWO_INSTANCES, 2))
        ]
        where = ("throughput", "instances", column)
        yield from interleaved(
            agents, where, rows, plan.rounds, _UNITS, {"speed-up": (ONE_INSTANCE,)}, ratio_of="calls"
        )
