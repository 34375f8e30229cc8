"""The wait for a message: tries, then tries with ``sched_yield`` between them, then sleep until a ring.

Whoever sleeps is woken by the kernel, on a machine whose core went idle 25-75 us later. Whoever tries has the message
at once, and costs a core meanwhile; and where the peer or other processes want this very core, a sleeper is served
sooner (27 us a round trip on one core against 150-300). So how long to try is learned from the waits so far.

A try is a look at the slot's number (40 ns) that keeps the GIL: letting it go invites every busy Python thread in and
costs milliseconds. So where the application has threads, long waits sleep, lest they stand still meanwhile.
"""

import threading
import time
from typing import Any, Optional, Union

from neuropod_worker.shm.control import Mailbox
from neuropod_worker.shm.libc import keeping_gil
from neuropod_worker.shm.quota import cpu_quota

_SPIN_S = 25e-6  # in less, a small model answers
_BETWEEN_YIELDS_S = 1e-6
_RUNG_TRIES = 25
_CONTESTED_YIELD_S = 10e-6  # a yield to nobody takes 0.5 us
_LOST_S = 50e-6  # in contested yields of one wait; an interrupt now and then takes less
_LONGEST_S = 1.25e-3  # polled for at most, as expected: a thousand calls a second, and what woke late
_LONGEST_BY_QUOTA_S = 50e-6  # where tries are paid for: what sleeping and being woken costs of processor time
_FEWEST_CPUS = 1.5  # a quota below this is scarce
_GIL_KEPT_S = 100e-6  # at most, where other threads of the application could want it
_SLACK_S = 50e-6
_WEIGHT = 0.25  # of the latest wait in what is expected
_MOST_FAILURES = 6  # then 63 of 64 waits sleep at once
WAIT_SLICE_S = 0.5  # a blocked client looks around at least this often
# And an idle worker: for no more than a ring that went astray. Waking costs 0.8 ms of a core that slept.
IDLE_SLICE_S = 60.0

WAITS = ("adaptive", "spin", "block")

_clock = time.monotonic
_sched_yield = keeping_gil["sched_yield"]


class Patience:
    """How long to try before sleeping, learned from the waits so far. No clock of its own.

    A wait is expected to last as long as the recent ones did, on average. If that is at most ``longest_s``, it is
    tried for half as long again and a little; otherwise it sleeps at once. Trying that led to nothing is left out
    of the next wait, then of the next 3, 7, ... while it goes on to fail.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._expected_s = 0.0
        self._failures = 0  # how often in a row trying has led to nothing
        self._skip = 0

    def seconds(self) -> float:
        """How long to try in the wait that begins."""
        if self._expected_s > self._longest_s:
            return 0.0
        if self._skip:
            self._skip -= 1
            return 0.0
        return 1.5 * self._expected_s + _SLACK_S

    def soon(self) -> bool:
        """Whether waits are so short that a yield may take longer, and tries have led to something."""
        return self._expected_s <= _SPIN_S and not self._failures

    def failed(self) -> None:
        """The tries led to nothing."""
        self._failures = min(self._failures + 1, _MOST_FAILURES)
        self._skip = 2**self._failures - 1

    def succeeded(self) -> None:
        """They led to a message."""
        self._failures = 0

    def lasted(self, seconds: float) -> None:
        """The wait is over. A long one counts as twice the longest that is tried for: a pause is soon forgotten."""
        self._expected_s += _WEIGHT * (min(seconds, 2 * self._longest_s) - self._expected_s)


class PolledWait:
    """A reader that looks at its mailbox by itself, and is rung only while it sleeps.

    ``kind``: "adaptive" tries while that is worth it, "block" never, "spin" without end.
    """

    def __init__(self, mailbox: Mailbox, bell: Any, kind: str) -> None:
        self._mailbox = mailbox
        self._bell = bell
        self._spins = kind == "spin"
        self.spin_s = 0.0 if kind == "block" else _SPIN_S
        quota = cpu_quota()
        scarce = quota is not None and quota < _FEWEST_CPUS
        self._patience = None if kind == "block" else Patience(_LONGEST_BY_QUOTA_S if scarce else _LONGEST_S)
        self._since: Optional[float] = None  # when the wait began; it may have several sleeps
        # By a wait that the tries ended, to be learned from in the next one: the message comes first.
        self._took = 0.0
        self._contested = False

    def catch(self) -> bool:
        """True if a message has arrived or does so during the tries."""
        poll = self._mailbox.poll
        since = self._since
        if poll(self.spin_s if since is None else 0.0):
            self._since = None
            return True
        patience = self._patience
        if patience is None:
            return False
        if self._took:
            self._learn(patience)
        now = _clock()
        if since is None:
            self._since = since = now - self.spin_s
        until = now + patience.seconds()
        if until == now:
            return False
        lost = 0.0
        kept_until = now - self.spin_s + _GIL_KEPT_S
        while now < until:
            if now > kept_until:
                if not _is_alone():
                    break
                kept_until = until
            _sched_yield()
            before, now = now, _clock()
            contested = now - before > _CONTESTED_YIELD_S
            if poll(_BETWEEN_YIELDS_S):
                self._took, self._contested = now - since, contested
                self._since = None
                return True
            if contested:
                lost += now - before
                if lost > _LOST_S:
                    break
        patience.failed()
        self.spin_s = 0.0
        return False

    def spun(self) -> None:
        """The wait that follows has begun already: the caller has polled for ``spin_s`` itself."""
        self._since = _clock() - self.spin_s

    def _learn(self, patience: Patience) -> None:
        if not self._contested:
            patience.succeeded()
        self._lasted(patience, self._took)
        self._took = 0.0

    def _lasted(self, patience: Patience, seconds: float) -> None:
        patience.lasted(seconds)
        self.spin_s = _SPIN_S if patience.soon() and not self._contested else 0.0

    def sleep(self, seconds: float) -> None:
        """Until a message arrives, at most ``seconds``. May return early."""
        mailbox = self._mailbox
        if self._spins:
            until = _clock() + seconds
            while not mailbox.arrived and _clock() < until:
                _sched_yield()
        else:
            if mailbox.fall_asleep():
                self._bell.wait(max(seconds, 0.0))
            mailbox.wake_up()
        if self._patience is not None and self._since is not None and mailbox.arrived:
            self._lasted(self._patience, _clock() - self._since)
            self._since = None


def _is_alone() -> bool:
    """True if this process has no Python threads but this one and the library's own, which do little."""
    this = threading.get_ident()
    return all(thread.ident == this or thread.name.startswith("neuropod-") for thread in threading.enumerate())


class RungWait:
    """The portable twin, for machines where a slot may be looked at only after its ring."""

    def __init__(self, bell: Any, kind: str) -> None:
        self._bell = bell
        self.spin_s = 0.0  # the slot itself may not be looked at
        self._tries = 0 if kind == "block" else _RUNG_TRIES

    def catch(self) -> bool:
        """True if it was rung, or is during the tries."""
        try_wait = self._bell.try_wait
        return any(try_wait() for _ in range(self._tries))

    def spun(self) -> None:
        """For no time."""

    def sleep(self, seconds: float) -> None:
        """Until a ring, at most ``seconds``."""
        self._bell.wait(max(seconds, 0.0))


def make_wait(mailbox: Mailbox, bell: Any, kind: str) -> "Union[PolledWait, RungWait]":
    return PolledWait(mailbox, bell, kind) if mailbox.polled else RungWait(bell, kind)
