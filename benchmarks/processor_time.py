"""How much processor time processes have used, in nanosecond steps; /proc tells it in steps of 10 ms."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.placement import descendants

_WHOLE_PROCESS_SCHEDULED = 2  # the kind of clock in the lowest bits of Linux's clock ids of processes


class Used:
    """``percent`` of one core, from the start to the end of `measured`."""

    percent = 0.0


@contextmanager
def measured(pids: Sequence[int] = ()) -> Iterator[Used]:
    """What these, else this process and its descendants, use meanwhile; those that start or end meanwhile do not
    count."""
    pids = pids or [os.getpid(), *descendants(os.getpid())]
    used = Used()
    before, began = {pid: _seconds(pid) for pid in pids}, time.perf_counter()
    yield used
    ended = time.perf_counter()
    used.percent = 100 * sum(_seconds(pid) - before[pid] for pid in pids) / (ended - began)


def _seconds(pid: int) -> float:
    return time.clock_gettime(~pid << 3 | _WHOLE_PROCESS_SCHEDULED)
