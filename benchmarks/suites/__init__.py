"""Which measurements are combined, by name. Data only.

A suite is a function that takes a plan and the agents and yields its entries; ``where`` names it below this package.
"""

import importlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.agents import Agents
from benchmarks.figures import Entry


class Plan(NamedTuple):
    """How much is measured: ``rounds``, and what one contender may take in one round of one case.

    A quick plan also has fewer cases and contenders: for a look, not for a verdict.
    """

    rounds: int
    longest_s: float
    quick: bool

    @property
    def slow_calls_s(self) -> float:
        """The same for calls that take tens of milliseconds, of which a quick round would hold only a few."""
        return 5 * self.longest_s if self.quick else self.longest_s


FULL = Plan(rounds=5, longest_s=2.0, quick=False)
QUICK = Plan(rounds=2, longest_s=0.2, quick=True)


class Suite(NamedTuple):
    title: str
    where: str

    @property
    def function(self) -> Callable[[Plan, Agents], Iterator[Entry]]:
        module, _, name = self.where.partition(":")
        found: Callable[[Plan, Agents], Iterator[Entry]]
        found = getattr(importlib.import_module(f"benchmarks.suites.{module}"), name)
        return found


SUITES = {
    "latency": Suite("calls back to back, all sizes and contenders, unpinned", "latency:run"),
    "pinned": Suite("calls back to back, client and worker on own cores and on one core", "latency:run_pinned"),
    "paced": Suite("calls at a given rate, and none: latency and processor time", "paced:run"),
    "adverse": Suite("a busy thread, one core, half a CPU, a worker that is busy for long", "adverse:run"),
    "throughput": Suite(
        "calls a second: small ones on their way at once, long ones of two models and instances", "throughput:run"
    ),
    "deaths": Suite("a worker is killed in a call: when the caller knows, and has its next answer", "deaths:run"),
    "startup": Suite("from nothing to the first answer, one and several at once; workers that wait", "startup:run"),
    "anatomy": Suite("how a call spends its time", "anatomy:run"),
    "real": Suite("a convolutional network of torch 2.13 on images, in process and out of process", "real:run"),
}
