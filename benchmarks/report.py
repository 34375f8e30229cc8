"""What was measured, for people and as JSON, with what a reader needs in order to repeat it."""

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Result

_HEADER = ("", "p50 µs", "p99 µs", "p50 ratio")


def conditions() -> dict[str, str | int]:
    """The command and the machine."""
    return {
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "kernel": platform.release(),
    }


def table(results: Sequence[Result], reference: str) -> str:
    """All cases as text; ratios are to the p50 of the contender ``reference`` in the same case."""
    lines = []
    for case in dict.fromkeys(result.case for result in results):
        rows = [(case, *_HEADER[1:])]
        for one, ratio in ratios(results, reference):
            if one.case == case:
                rows.append((one.contender, f"{one.p50_us:.1f}", f"{one.p99_us:.1f}", f"{ratio:.1f}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for name, *numbers in rows:
            cells = [f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True)]
            lines.append("  ".join([f"{name:<{widths[0]}}", *cells]))
        lines.append("")
    return "\n".join(lines)


def ratios(results: Sequence[Result], reference: str) -> list[tuple[Result, float]]:
    """Each result with its p50 divided by that of the reference in the same case."""
    floor = {one.case: one.p50_us for one in results if one.contender == reference}
    return [(one, one.p50_us / floor[one.case]) for one in results]


def as_data(results: Sequence[Result], reference: str, facts: dict[str, str | int]) -> dict[str, Any]:
    rows = [{**one._asdict(), "ratio": ratio} for one, ratio in ratios(results, reference)]
    return {"conditions": facts, "reference": reference, "results": rows}


def _cpu_model() -> str:
    # platform.processor() is empty or says no more than the architecture on most Linux machines.
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
