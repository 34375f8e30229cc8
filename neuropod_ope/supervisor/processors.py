"""Which processors the workers of a model run on, and how many threads each may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from neuropod_worker.shm.quota import cpu_quota

# What numerical libraries ask for the number of their threads; OpenMP's is also that of torch.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


class Share(NamedTuple):
    """What one worker may use. None: what its libraries and the system choose."""

    affinity: frozenset[int] | None = None
    threads: int | None = None


class Usable(NamedTuple):
    """What this process may use: ``processors`` by number, and the ``quota`` of its container, if it has one."""

    processors: frozenset[int]
    quota: float | None


def usable() -> Usable:
    """What this process may use now."""
    if not hasattr(os, "sched_getaffinity"):
        return Usable(frozenset(range(os.cpu_count() or 1)), None)
    return Usable(frozenset(os.sched_getaffinity(0)), cpu_quota())


def shares(
    affinity: Collection[int] | Sequence[Collection[int]] | None,
    threads: int | None,
    instances: int,
    ours: Usable,
    environ: Mapping[str, str],
) -> list[Share]:
    """One share for each instance.

    ``affinity``: the processors for all of them, or as many sets as there are instances. Without ``threads`` several
    instances divide the processors among them, so that together they have no more threads than one would, unless
    ``environ`` names a number already; one instance is left alone. Raises TypeError, ValueError.
    """
    sets = _sets(affinity, instances)
    for chosen in sets:
        _check(chosen, ours.processors)
    if threads is not None:
        if type(threads) is not int or threads < 1:
            raise ValueError(f"threads must be a number of threads, at least 1, not {threads!r}")
        return [Share(chosen, threads) for chosen in sets]
    if instances == 1 or any(name in environ for name in THREAD_VARIABLES):
        return [Share(chosen) for chosen in sets]
    return [Share(chosen, _divided(chosen, sets, ours)) for chosen in sets]


def _sets(affinity: Any, instances: int) -> Sequence[frozenset[int] | None]:
    if affinity is None:
        return [None] * instances
    if not _is_set(affinity):
        raise TypeError(f"affinity must be numbers of processors, or a list of such sets, not {affinity!r}")
    members = list(affinity)
    if not any(map(_is_set, members)):
        return [frozenset(members)] * instances  # of numbers, or refused by _check
    if len(members) != instances:
        raise ValueError(f"affinity has {len(members)} sets of processors for {instances} instances")
    return [frozenset(member) if _is_set(member) else frozenset() for member in members]


def _is_set(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, (str, bytes))


def _check(chosen: frozenset[int] | None, processors: frozenset[int]) -> None:
    if chosen is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError("affinity: this system cannot bind a process to processors")
    if not chosen or not chosen <= processors:
        raise ValueError(
            f"affinity names the processors {sorted(chosen, key=str)}; it must name some of those that this process "
            f"may use: {sorted(processors)}"
        )


def _divided(chosen: frozenset[int] | None, sets: Sequence[frozenset[int] | None], ours: Usable) -> int:
    processors = float(len(ours.processors if chosen is None else chosen))
    if ours.quota is not None:
        processors = min(processors, ours.quota)
    return max(1, int(processors // sets.count(chosen)))


@contextlib.contextmanager
def bound_to(processors: frozenset[int] | None) -> Iterator[None]:
    """What this thread starts meanwhile is bound to ``processors``, from its first instruction on."""
    if processors is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)  # of this thread alone
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
