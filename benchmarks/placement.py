"""Which cores a client and its workers run on."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import NotPossible

UNPINNED, OWN_CORES, ONE_CORE = "unpinned", "own cores", "one core"


@contextmanager
def placed(placement: str) -> Iterator[Callable[[], None]]:
    """Pin this process, and with what it gives, once its workers are up, them.

    "own cores": this process on one, all workers on another; "one core": all on one; "unpinned": no pinning.
    """
    before = os.sched_getaffinity(0)
    first, second = (*sorted(before), None)[:2]
    if placement == OWN_CORES and second is None:
        raise NotPossible("this machine lets us run on one core only")
    worker_core = {UNPINNED: None, OWN_CORES: second, ONE_CORE: first}[placement]

    def place_workers() -> None:
        if worker_core is not None:
            for pid in descendants(os.getpid()):
                pin(pid, {worker_core})

    if placement != UNPINNED:
        pin(os.getpid(), {first})
    try:
        yield place_workers
    finally:
        pin(os.getpid(), before)


def pin(pid: int, cores: set[int]) -> None:
    """All threads of a process, also those that it has already."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            os.sched_setaffinity(int(thread.name), cores)
        except ProcessLookupError:  # a thread that has ended meanwhile
            pass


def descendants(pid: int) -> list[int]:
    """The living children of a process, and theirs."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]
