"""The wait for a doorbell: a few hard tries, then tries with ``sched_yield`` between them, then block.

Measured round trips (2-core machine): blocking at once costs 35-60 us across cores, hard spinning ruins the
case of both sides on one core. Tries with a yield serve both (0.7 us back to back, 5 us on one core). The
number of yields follows what worked: a wait that had to block halves it, a ring that came soon after blocking
began restores it.
"""

import time
from typing import Any

from neuropod_worker.shm.libc import keeping_gil

_HARD_TRIES = 5
_MOST_YIELDS = 200
_WORTH_YIELDING_S = 200e-6  # a ring that comes within this time after blocking began would have been caught
WAIT_SLICE_S = 0.5  # a blocked waiter looks around at least this often

_sched_yield = keeping_gil["sched_yield"]


class AdaptiveWait:
    """One waiter on one doorbell."""

    def __init__(self, bell: Any) -> None:
        self._bell = bell
        self._yields = _MOST_YIELDS

    def wait_rung(self, seconds: float) -> bool:
        """Take a ring; False after ``seconds`` (at most a slice) or after a signal."""
        try_wait = self._bell.try_wait
        for _ in range(_HARD_TRIES):
            if try_wait():
                return True
        for _ in range(self._yields):
            _sched_yield()
            if try_wait():
                return True
        began = time.monotonic()
        rung: bool = self._bell.wait(min(max(seconds, 0.0), WAIT_SLICE_S))
        if rung and time.monotonic() - began < _WORTH_YIELDING_S:
            self._yields = _MOST_YIELDS
        else:
            self._yields //= 2
        return rung
