"""How a model is: whether its workers live, whether it takes calls, and what they are doing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Problem = Literal["", "dead", "stopped", "deaf", "stuck"]


@dataclass(frozen=True)
class Progress:
    """What one worker does: ``step`` ("starting", "loading", "waiting" or "running") since ``seconds`` ago, for
    ``request``.

    ``problem``: "dead"; "stopped" by a signal; "deaf", it waits for requests and takes none; "stuck", it is at the
    same request for too long; or empty.
    """

    pid: int
    step: str
    seconds: float
    request: int | None
    problem: Problem


@dataclass(frozen=True)
class Health:
    """Separate facts, each as true as the kernel and the worker's own page tell.

    ``live``: a worker is there and nothing is the matter with it. ``ready``: the model is loaded in such a worker and
    takes calls. ``state``: of the model, see docs/supervision.md; or "draining". ``progress``: of each worker, those
    that are being started and spare ones included; empty for a model in this process.
    """

    live: bool
    ready: bool
    state: str
    progress: tuple[Progress, ...]


class Signs(NamedTuple):
    """What can be seen of a worker. ``request`` is the one that it is busy with, or 0; ``hears``: it takes messages,
    asked only where it says that it waits."""

    pid: int
    dead: bool
    stopped: bool
    step: str
    seconds: float
    request: int
    hears: bool


def progress_of(signs: Signs, stuck_after: float) -> Progress:
    """What the signs say. A worker may be busy with one request for ``stuck_after`` seconds."""
    problem: Problem = ""
    if signs.dead:
        problem = "dead"
    elif signs.stopped:
        problem = "stopped"
    elif not signs.hears:
        problem = "deaf"
    elif signs.request and signs.step == "running" and signs.seconds > stuck_after:
        problem = "stuck"
    return Progress(signs.pid, signs.step, signs.seconds, signs.request or None, problem)


# The state of several instances is that of the best one.
_BEST_FIRST = ("ready", "loading", "waiting", "new", "stopped", "closed")


def together(healths: Sequence[Health]) -> Health:
    """The health of several instances: one that is well is enough to take calls."""
    return Health(
        any(health.live for health in healths),
        any(health.ready for health in healths),
        min((health.state for health in healths), key=_BEST_FIRST.index),
        tuple(progress for health in healths for progress in health.progress),
    )
