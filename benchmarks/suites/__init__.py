"""Which measurements are combined, by name. Data only.

A suite is a function that takes a plan and the agents and yields its entries; ``where`` names it below this package.
"""

import importlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.agents import Agents
from benchmarks.figures import Entry


class Plan(NamedTuple):
    """How much is measured. A quick run has fewer rounds, cases and contenders: for a look, not for a verdict."""

    quick: bool

    @property
    def rounds(self) -> int:
        return 2 if self.quick else 5

    @property
    def longest_s(self) -> float:
        """What one contender may take in one round of one case."""
        return 0.3 if self.quick else 2.0


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
}
