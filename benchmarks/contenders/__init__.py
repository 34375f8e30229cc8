"""The ways to have ``x + 0`` computed, by name. Data only: each runs where its packages are.

A module of a contender has ``open_VARIANT(case)``, a context manager that starts all that the way needs, gives an
`Exchange` and ends all of it afterwards: while others are measured, nothing of it may run.
"""

import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np

from benchmarks.cases import Case


class Exchange(NamedTuple):
    """``call()`` sends what ``inputs`` hold at that moment and gives the answers, valid until the next call.

    A contender chooses where its inputs lie: in plain memory as applications have them, unless its name says
    otherwise.
    """

    inputs: Sequence[np.ndarray]
    call: Callable[[], Sequence[np.ndarray]]


class Contender(NamedTuple):
    """``packages`` are what its virtualenv needs besides numpy; none: the virtualenv that runs the suite."""

    name: str
    module: str
    variant: str
    packages: tuple[str, ...] = ()

    def open(self, case: Case) -> AbstractContextManager[Exchange]:
        module = importlib.import_module(f"benchmarks.contenders.{self.module}")
        opened: AbstractContextManager[Exchange] = getattr(module, f"open_{self.variant}")(case)
        return opened


DIRECT = "x + 0 in this process"
BARE = "bare shared memory, spin flag: copy in"  # what goals are ratios to
IN_PLACE = "bare shared memory, spin flag: all in place"
IN_PROCESS = "neuropod, in process"
PLAIN = "neuropod, out of process: plain array"
ALLOCATED = "neuropod, out of process: allocated input"
ALL_PLACED = "neuropod, out of process: allocated input, output placed"
BLOCKING, SPINNING = "neuropod, always blocking", "neuropod, always spinning"
PIPE = "multiprocessing Pipe"
SHARED_MEMORY_PIPE = "multiprocessing shared memory + Pipe"

CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender(DIRECT, "direct", "direct"),
        Contender(BARE, "shared_memory", "copied_in"),
        Contender(IN_PLACE, "shared_memory", "in_place"),
        Contender(IN_PROCESS, "neuropod", "in_process"),
        Contender(PLAIN, "neuropod", "plain"),
        Contender(ALLOCATED, "neuropod", "allocated"),
        Contender(ALL_PLACED, "neuropod", "all_placed"),
        Contender(BLOCKING, "neuropod", "blocking"),
        Contender(SPINNING, "neuropod", "spinning"),
        Contender(PIPE, "pipe", "pipe"),
        Contender(SHARED_MEMORY_PIPE, "shared_memory", "with_pipe"),
        Contender("iceoryx2, spinning", "iceoryx", "spinning", ("iceoryx2>=0.7",)),
        Contender("iceoryx2, events", "iceoryx", "events", ("iceoryx2>=0.7",)),
        Contender("pyzmq, ipc", "zeromq", "ipc", ("pyzmq>=26",)),
        Contender("gRPC, Unix socket", "grpc_socket", "unix", ("grpcio>=1.60",)),
        Contender("Ray actor, by value", "ray_actor", "by_value", ("ray>=2.9",)),
    )
}
