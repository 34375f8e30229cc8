"""Which calls of a model are under way, so that it can be drained."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager


class AcceptedCalls:
    """A call is added before it is seen whether new ones are taken, so none is overlooked; ``done`` is idempotent and
    safe in finalizers and signal handlers. Keys are ids of objects that live as long as their calls."""

    def __init__(self) -> None:
        self._keys: set[int] = set()
        self._waited_for: queue.SimpleQueue[None] | None = None
        self.add = self._keys.add

    def done(self, key: int) -> None:
        self._keys.discard(key)
        if self._waited_for is not None:
            self._waited_for.put(None)

    @contextmanager
    def under_way(self, key: int) -> Iterator[None]:
        try:
            self.add(key)
            yield
        finally:
            self.done(key)

    def __len__(self) -> int:
        return len(self._keys)

    def wait_done(self, deadline: float | None) -> bool:
        """Until no call is under way: True, or False after ``deadline`` (time.monotonic). One thread at a time."""
        self._waited_for = queue.SimpleQueue()
        while self._keys:
            seconds = None if deadline is None else deadline - time.monotonic()
            if seconds is not None and seconds <= 0:
                return False
            try:
                self._waited_for.get(timeout=seconds)
            except queue.Empty:
                return not self._keys
        return True
