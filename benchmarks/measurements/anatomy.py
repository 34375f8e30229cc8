"""Where the time of a call goes: the worker stamps each reply four times, and here our own side is stamped, too.

CLOCK_MONOTONIC is the same in all processes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.cases import CASES
from benchmarks.contenders import CONTENDERS
from benchmarks.measurements.round_trips import durations, warm_up
from benchmarks.units import NS_PER_US
from neuropod_worker.shm import control
from neuropod_worker.shm.control import Mailbox

_MOST_CALLS = 4000

# What passes between two stamps after each other.
PHASES = (
    "check, copy in",  # infer() is called; the request is in the mailbox
    "to the worker",  # it has been read
    "unpack",  # the worker begins with it
    "model",  # it has returned its outputs
    "copy out",  # they are checked, and the reply is ready
    "to the caller",  # it has been read
    "wrap outputs",  # infer() returns
)


def phases(contender: str, case: str, longest_s: float) -> dict[str, float]:
    """Of a call's time, in microseconds: the median of each phase, and of all."""
    stamps: list[list[int]] = []
    with CONTENDERS[contender].open(CASES[case]) as exchange:
        warm_up(exchange.call, longest_s)

        def call() -> Any:
            stamps.append([time.monotonic_ns()])
            answer = exchange.call()
            stamps[-1].append(time.monotonic_ns())
            return answer

        with _stamped(stamps):
            durations(call, _MOST_CALLS, longest_s)
    # Messages that say more than numbers go another way: the first, and now and then one that retires frames.
    complete = [of_call for of_call in stamps if len(of_call) == len(PHASES) + 1]
    steps = np.diff(np.array(complete)) / NS_PER_US
    medians = dict(zip(PHASES, map(float, np.median(steps, axis=0)), strict=True))
    return {**medians, "all": float(np.median(steps.sum(axis=1)))}


@contextmanager
def _stamped(stamps: list[list[int]]) -> Iterator[None]:
    """Our mailboxes note when a request has been written and when a reply has been read. Costs some 0.5 µs a call."""
    kind: Any = control.MAILBOX
    send, look, exchange = kind.send_repeated, kind.repeated, kind.exchange

    def stamped_send(mailbox: Mailbox, bell: Any, *words: int) -> None:
        send(mailbox, bell, *words)
        stamps[-1].append(time.monotonic_ns())

    def stamped_look(mailbox: Mailbox) -> Any:
        words = look(mailbox)
        if words is not None:
            stamps[-1] += (*words[-4:], time.monotonic_ns())
        return words

    kind.send_repeated, kind.repeated, kind.exchange = stamped_send, stamped_look, Mailbox.exchange
    try:
        yield
    finally:
        kind.send_repeated, kind.repeated, kind.exchange = send, look, exchange
