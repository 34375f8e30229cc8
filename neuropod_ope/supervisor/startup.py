"""How long it took until a model answered, by its parts."""

from __future__ import annotations

from typing import NamedTuple


class Startup(NamedTuple):
    """Seconds, one after the other; 0 for what there was not.

    ``environment``: finding it, or building it; once for a model, not for each of its workers. ``boot``: from the
    start of the process until it takes requests, Python and numpy included. ``framework``: importing what runs the
    platform. ``package``: loading the model itself; what a Python model's own code imports counts here.
    ``warm_up``: its first run.
    """

    environment: float = 0.0
    boot: float = 0.0
    framework: float = 0.0
    package: float = 0.0
    warm_up: float = 0.0

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self._asdict().items() if seconds)
