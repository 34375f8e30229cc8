"""Whether a worker that ended is replaced, and when. Pure: the history of deaths and a time in, a decision out.

A worker that answered at least one call was worth its start and is replaced at once, however often that happens. What
makes a crash loop is *fruitless* workers: each one in a row doubles the delay, and too many within the window end it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

LONGEST_BACKOFF_S = 30.0


@dataclass(frozen=True)
class RestartPolicy:
    """When a worker that died is replaced.

    ``backoff``: seconds before the second fruitless worker in a row is replaced, doubled for each further one, at
    most 30 s. ``ceiling``: after so many fruitless workers within ``window`` seconds the model is stopped, and
    calls raise what was the matter until the window has passed or ``load()`` is called; ``None``: never, 0: after
    any death. ``standby``: so many spare workers are kept with the model loaded, to take over within milliseconds.
    """

    backoff: float = 0.1
    ceiling: int | None = 10
    window: float = 60.0
    standby: int = 0

    def __post_init__(self) -> None:
        if not _is_number(self.backoff) or self.backoff < 0:
            raise ValueError(f"backoff must be a number of seconds, 0 or more, not {self.backoff!r}")
        if not _is_number(self.window) or self.window <= 0:
            raise ValueError(f"window must be a number of seconds above 0, not {self.window!r}")
        if self.ceiling is not None and not _is_count(self.ceiling):
            raise ValueError(f"ceiling must be a number of workers, 0 or more, or None, not {self.ceiling!r}")
        if not _is_count(self.standby):
            raise ValueError(f"standby must be a number of workers, 0 or more, not {self.standby!r}")


class Ending(NamedTuple):
    """The end of a worker, or of an attempt to start one. ``at``: seconds on a monotonic clock. ``fruitless``: it
    answered no call. ``hopeless``: it could not boot or load the model, and the next one could not either."""

    at: float
    fruitless: bool
    hopeless: bool = False


class Decision(NamedTuple):
    """``event``: "restart", "back off" for ``delay`` seconds, or "give up", as in the table `states.MODEL`."""

    event: str
    delay: float = 0.0


def decide(policy: RestartPolicy, endings: Sequence[Ending], now: float) -> Decision:
    """What to do at ``now`` about a worker whose ``endings`` (oldest first) are these."""
    recent = [ending for ending in endings if now - ending.at < policy.window]
    fruitless = sum(ending.fruitless for ending in recent)
    if policy.ceiling is not None and fruitless >= policy.ceiling:
        return Decision("give up")
    if not recent:
        return Decision("restart")
    if recent[-1].hopeless:
        return Decision("give up")
    in_a_row = next((n for n, ending in enumerate(reversed(recent)) if not ending.fruitless), len(recent))
    if in_a_row < 2 or policy.backoff == 0:
        return Decision("restart")
    # The exponent is bounded: a float overflows at 2 ** 1024.
    backoff = min(policy.backoff * 2.0 ** min(in_a_row - 2, 64), LONGEST_BACKOFF_S)
    delay = recent[-1].at + backoff - now
    return Decision("back off", delay) if delay > 0 else Decision("restart")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and value == value


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0
