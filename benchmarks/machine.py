"""What a reader needs to know in order to repeat a run: the command and the machine."""

import os
import platform
import shlex
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path


def conditions(module: str, arguments: Sequence[str]) -> dict[str, str | int]:
    return {
        "command": shlex.join(["python", "-m", module, *arguments]),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "load": f"{os.getloadavg()[0]:.1f} when it began",
    }


def show(facts: dict[str, str | int]) -> None:
    for name, value in facts.items():
        print(f"{name:<9}{value}")


def _cpu_model() -> str:
    # platform.processor() is empty or says no more than the architecture on most Linux machines.
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def others_percent(seconds: float = 0.5) -> float:
    """The processor time that all processes use while this one sleeps, in percent of one core."""
    before = _busy_s()
    time.sleep(seconds)
    return 100 * (_busy_s() - before) / seconds


def _busy_s() -> float:
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
