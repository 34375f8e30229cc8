"""The worker program: shake hands, then serve the mailbox until the client says Shutdown or is gone.

Expects argv: the number of an inherited socket, then folders to append to ``sys.path`` (the support packages).
Exit status: 0 after Shutdown, BOOT_FAILED if it could not serve at all. Standard output and error belong to
the model and go to the client's log.
"""

import contextlib
import faulthandler
import io
import os
import signal
import socket
import sys
from typing import Sequence, TextIO

BOOT_FAILED = 3
_OOM_SCORE = 300  # thousandths of all memory


def main(arguments: Sequence[str]) -> None:
    """Serve until told to stop, then exit."""
    faulthandler.enable(os.dup(2))  # a model may close or redirect its own
    sys.stdout, sys.stderr = _printer(1), _printer(2)
    _stand_in_for_the_client()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the application's to act on
    sys.path.extend(arguments[1:])
    try:
        from neuropod_worker.server import greet
    except ImportError as error:
        sys.stderr.write("neuropod_ope: no worker can run in {}: {}\n".format(sys.executable, error))
        sys.exit(BOOT_FAILED)
    server = greet(socket.socket(fileno=int(arguments[0])))
    if server is None:
        sys.exit(BOOT_FAILED)
    server.serve()


def _printer(descriptor: int) -> TextIO:
    """One line at a time, and UTF-8 whatever the locale says: what a model prints must not fail for its letters."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)


def _stand_in_for_the_client() -> None:
    """When memory runs out, the kernel rather ends a worker, which can be replaced, than the application.

    It now counts this process as if it used this much of all memory more than it does."""
    # Only Linux has the file; and the number may be higher already.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        if int(file.read()) < _OOM_SCORE:
            file.seek(0)
            file.write(str(_OOM_SCORE))
