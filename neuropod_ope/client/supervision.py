"""How a model that runs out of process is supervised: the options of `load_neuropod`, checked."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from neuropod_ope.client.capsules import Redact
from neuropod_ope.supervisor.events import Event
from neuropod_ope.supervisor.restart import RestartPolicy


@dataclass(frozen=True)
class Supervision:
    """``restart``: when a worker that died is replaced. ``on_event``: hears of each transition. ``retries``: so many
    times a call whose worker died while it ran is made again. ``load_timeout``: seconds for a start and a load.
    ``cancel``: "kill" ends the worker when the call that it runs is cancelled, or its caller interrupted.
    ``capsule``: the folder for `capsules.CapsuleWriter`, with its hook ``redact``."""

    restart: RestartPolicy = field(default_factory=RestartPolicy)
    on_event: Callable[[Event], None] | None = None
    retries: int = 0
    load_timeout: float | None = None
    cancel: Literal["queue", "kill"] = "queue"
    capsule: str | os.PathLike[str] | None = None
    redact: Redact | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.restart, RestartPolicy):
            raise TypeError(f"restart must be a RestartPolicy, not {self.restart!r}")
        if self.on_event is not None and not callable(self.on_event):
            raise TypeError(f"on_event must be a function that takes an Event, not {self.on_event!r}")
        if type(self.retries) is not int or self.retries < 0:
            raise ValueError(f"retries must be a number, 0 or more, not {self.retries!r}")
        timeout = self.load_timeout
        if timeout is not None and (not isinstance(timeout, (int, float)) or not timeout > 0):
            raise ValueError(f"load_timeout must be a number of seconds above 0, not {timeout!r}")
        if self.cancel not in ("queue", "kill"):
            raise ValueError(f"cancel must be 'queue' or 'kill', not {self.cancel!r}")
        if self.capsule is not None and not isinstance(self.capsule, (str, os.PathLike)):
            raise TypeError(f"capsule must be the path of a folder, not {self.capsule!r}")
        if self.redact is not None and (not callable(self.redact) or self.capsule is None):
            raise TypeError(f"redact={self.redact!r}: a function of an input's name and array, for capsule=folder")
