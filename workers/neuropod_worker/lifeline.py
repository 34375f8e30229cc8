"""The worker dies with its client, also when model code is stuck in C with the GIL held.

Expects the read end of a pipe that never carries data and whose write end only the client holds, and to be the
leader of a process group of its own. Gives: when the last write end is closed, the kernel (or, in the portable
twin, a thread) kills the whole group, forked children of the model included. ``PR_SET_PDEATHSIG`` would
follow the *thread* that spawned us, which is not what anybody means.
"""

import fcntl
import os
import select
import signal
import threading

_F_SETSIG = 10  # Linux


def arm(kind: str, descriptor: int) -> None:
    """Tie this process group to ``descriptor``. Kills the group at once if the client is gone already."""
    if kind == "signal":
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
        # A hang-up before the line above was not signalled: look once.
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if poll.poll(0):
            os.killpg(0, signal.SIGKILL)
    else:
        thread = threading.Thread(target=_watch, args=(descriptor,), name="neuropod-lifeline", daemon=True)
        thread.start()


def _watch(descriptor: int) -> None:
    """The portable twin. It needs the GIL to act, so a model that holds it for ever outlives its client."""
    # The stacks that are asked for by this signal are safe to read only in the thread that runs the model.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGABRT})
    os.read(descriptor, 1)
    os.killpg(0, signal.SIGKILL)
