"""What a worker died of, in words. Pure."""

from __future__ import annotations

import signal
from typing import NamedTuple

from neuropod_ope.errors import WorkerDied

_SHOWN_LINES = 30


class Death(NamedTuple):
    """The end of a worker process. ``returncode`` as in `subprocess` (negative: signal), ``None``: unknown.
    ``killed_because`` is our own reason, if it was us who killed it."""

    pid: int
    returncode: int | None
    stderr: tuple[str, ...]
    killed_because: str | None = None


def describe(returncode: int | None) -> str:
    """One phrase for an exit status."""
    if returncode is None:
        return "ended with an unknown status (the application reaped our child process)"
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    hint = {
        "SIGKILL": ": somebody killed it, most often the kernel when memory ran out",
        "SIGSEGV": ": native code of the model, of a custom op or of the framework crashed",
        "SIGABRT": ": native code gave up",
        "SIGBUS": ": native code touched memory that is not there",
    }.get(name, "")
    return f"was killed by {name}{hint}"


def worker_died(death: Death, model: str, request: int | None, doing: str) -> WorkerDied:
    """The error for a caller who was waiting for this worker while it was ``doing`` something."""
    how = f"was ended, because {death.killed_because}," if death.killed_because else describe(death.returncode)
    message = f"the worker of model {model!r} (pid {death.pid}) {how} while {doing}"
    if death.stderr:
        shown = "\n".join("    " + line for line in death.stderr[-_SHOWN_LINES:])
        message += f"; its last words were:\n{shown}"
    return WorkerDied(
        message + "\nThe next call starts a fresh worker.",
        model=model,
        pid=death.pid,
        signal=-death.returncode if death.returncode is not None and death.returncode < 0 else None,
        exit_code=death.returncode if death.returncode is not None and death.returncode >= 0 else None,
        stderr=death.stderr,
        request=request,
    )
