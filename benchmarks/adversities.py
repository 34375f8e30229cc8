"""What a caller's machine may be like: context managers that make this process suffer, by name."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from benchmarks.cgroup import limited_processor
from benchmarks.placement import ONE_CORE, UNPINNED, placed


@contextmanager
def _busy_thread() -> Iterator[None]:
    """Python code that never waits: who lets go of the GIL gets it back after a switch interval, 5 ms."""
    ended = threading.Event()

    def compute() -> None:
        while not ended.is_set():
            pass

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


_ADVERSITIES: dict[str, Any] = {
    "nothing": lambda: placed(UNPINNED),
    "a busy thread": _busy_thread,
    "one core": lambda: placed(ONE_CORE),
    "half a CPU": lambda: limited_processor(0.5),
}
NAMES = tuple(_ADVERSITIES)


def adversity(name: str) -> AbstractContextManager[Any]:
    """Enter it before the worker starts, which inherits it, but for the thread."""
    return _ADVERSITIES[name]()
