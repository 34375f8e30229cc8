"""Which calls of a model are under way, so that it can be drained."""

from __future__ import annotations

import queue
import time

_SLICE_S = 0.5


class AcceptedCalls:
    """A call is added before it is seen whether new ones are taken, so none is overlooked. Keys are ids of objects
    that live as long as their calls. All of it is safe in finalizers and signal handlers.

    ``add`` and ``discard`` are functions in C: in a ``try`` and its ``finally`` no interrupt leaves a call behind.
    Who discards calls ``tell`` as well; those who wait look around every half a second, in case it was interrupted.
    """

    def __init__(self) -> None:
        self._keys: set[int] = set()
        self._waiting: list[queue.SimpleQueue[None]] = []
        self.add, self.discard = self._keys.add, self._keys.discard

    def tell(self) -> None:
        """A call is done."""
        for waiting in tuple(self._waiting):
            waiting.put(None)

    def __len__(self) -> int:
        return len(self._keys)

    def wait_done(self, deadline: float | None) -> bool:
        """Until no call is under way: True, or False after ``deadline`` (time.monotonic)."""
        told: queue.SimpleQueue[None] = queue.SimpleQueue()
        try:
            self._waiting.append(told)
            while self._keys:
                seconds = _SLICE_S if deadline is None else min(deadline - time.monotonic(), _SLICE_S)
                if seconds <= 0:
                    return False
                try:
                    told.get(timeout=seconds)
                except queue.Empty:
                    pass
        finally:
            if told in self._waiting:
                self._waiting.remove(told)
        return True
