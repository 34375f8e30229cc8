"""The plots, in the agent that has matplotlib."""

from pathlib import Path
from typing import Any

from benchmarks.figures import from_data
from benchmarks.plots import draw


def draw_all(entries: list[dict[str, Any]], folder: str, caption: str) -> list[str]:
    return draw(from_data(entries), Path(folder), caption)
