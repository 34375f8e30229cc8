"""The wait for a message: hard tries, then tries with ``sched_yield`` between them, then sleep until a ring.

Measured round trips (2-core machine): sleeping at once costs 35-60 us across cores, hard tries alone ruin the case
of both sides on one core. A few hard tries, then some with a yield, serve both. Where other processes want the core,
though, and where the peer does and a yield does not let it run (150-300 us a call on a busy machine), a sleeper is
served sooner (27 us). So yielding that led to nothing is left out for a while.

A try is a look at the slot's number (40 ns) that keeps the GIL: letting it go invites every busy Python thread in and
costs milliseconds.
"""

import time
from typing import Any, Union

from neuropod_worker.shm.control import Mailbox
from neuropod_worker.shm.libc import keeping_gil
from neuropod_worker.shm.quota import cpu_quota

_HARD_TRIES = 25
_YIELDING_S = 100e-6
_CONTESTED_YIELD_S = 10e-6  # a yield to nobody takes 0.5 us
_MOST_FAILURES = 4  # then 15 of 16 waits sleep at once
_FEWEST_CPUS = 1.5  # under a quota below this, what tries burn is missing when there is work
WAIT_SLICE_S = 0.5  # a blocked client looks around at least this often
IDLE_SLICE_S = 5.0  # and an idle worker: for no more than a ring that went astray

WAITS = ("adaptive", "spin", "block")

_clock = time.monotonic
_sched_yield = keeping_gil["sched_yield"]


class PolledWait:
    """A reader that looks at its mailbox by itself, and is rung only while it sleeps.

    ``kind``: "adaptive" tries while that has been worth it lately, "block" never, "spin" without end.
    """

    def __init__(self, mailbox: Mailbox, bell: Any, kind: str) -> None:
        self._mailbox = mailbox
        self._bell = bell
        self._spins = kind == "spin"
        self._hard_tries = 0 if kind == "block" else _HARD_TRIES
        quota = cpu_quota()
        yields = kind != "block" and (quota is None or quota >= _FEWEST_CPUS)
        self._yielding_s = _YIELDING_S if yields else 0.0
        self._failures = 0  # how often in a row yielding has led to nothing
        self._skip = 0  # how often to sleep without it

    def catch(self) -> bool:
        """True if a message has arrived or does so during the tries."""
        words, at, number = self._mailbox.looked_at()
        for _ in range(self._hard_tries):
            if words[at] == number:
                return True
        if self._skip:
            self._skip -= 1
            return False
        now = _clock()
        until = now + self._yielding_s
        while now < until:
            _sched_yield()
            before, now = now, _clock()
            if words[at] == number:
                if now - before < _CONTESTED_YIELD_S:
                    self._failures = 0
                return True
        self._failures = min(self._failures + 1, _MOST_FAILURES)
        self._skip = 2**self._failures - 1
        return False

    def sleep(self, seconds: float) -> None:
        """Until a message arrives, at most ``seconds``. May return early."""
        mailbox = self._mailbox
        if self._spins:
            until = _clock() + seconds
            while not mailbox.arrived and _clock() < until:
                _sched_yield()
            return
        if mailbox.fall_asleep():
            self._bell.wait(max(seconds, 0.0))
        mailbox.wake_up()


class RungWait:
    """The portable twin, for machines where a slot may be looked at only after its ring."""

    def __init__(self, bell: Any, kind: str) -> None:
        self._bell = bell
        self._tries = 0 if kind == "block" else _HARD_TRIES

    def catch(self) -> bool:
        """True if it was rung, or is during the tries."""
        try_wait = self._bell.try_wait
        return any(try_wait() for _ in range(self._tries))

    def sleep(self, seconds: float) -> None:
        """Until a ring, at most ``seconds``."""
        self._bell.wait(max(seconds, 0.0))


def make_wait(mailbox: Mailbox, bell: Any, kind: str) -> "Union[PolledWait, RungWait]":
    return PolledWait(mailbox, bell, kind) if mailbox.polled else RungWait(bell, kind)
