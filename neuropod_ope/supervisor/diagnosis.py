"""What a worker died of, in words. Pure."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import NamedTuple

from neuropod_ope.errors import InferTimeout, WorkerDied

_SHOWN_LINES = 30
STACKS_BEGIN = "Fatal Python error: "


class Death(NamedTuple):
    """The end of a worker process. ``returncode`` as in `subprocess` (negative: signal), ``None``: unknown.
    ``killed_because`` is our own reason, if it was us who killed it. ``out_of_memory``: the kernel killed it, or
    another process of its cgroup, because memory ran out; ``None``: it does not say. ``memory_limit``: in bytes.
    ``stacks``: of all its threads, as Python's faulthandler writes them; empty if it did not."""

    pid: int
    returncode: int | None
    stderr: tuple[str, ...]
    killed_because: str | None = None
    out_of_memory: bool | None = None
    memory_limit: int | None = None
    stacks: str = ""


def stacks_in(stderr: Sequence[str]) -> str:
    """What faulthandler wrote last."""
    begins = [number for number, line in enumerate(stderr) if line.startswith(STACKS_BEGIN)]
    return "\n".join(stderr[begins[-1] :]) if begins else ""


def describe(death: Death) -> str:
    """One phrase for how a process ended."""
    if death.killed_because is not None:
        return f"was ended, because {death.killed_because},"
    returncode = death.returncode
    if death.out_of_memory and returncode in (None, -signal.SIGKILL):
        limit = "the machine's" if death.memory_limit is None else f"{death.memory_limit / 2**20:.0f} MiB"
        return f"was killed by the kernel (SIGKILL), because memory ran out (the limit is {limit}),"
    if returncode is None:
        return "ended with an unknown status (the application reaped our child process)"
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    hint = {
        "SIGKILL": ": somebody killed it"
        + (", most often the kernel when memory ran out" if death.out_of_memory is None else ""),
        "SIGSEGV": ": native code of the model, of a custom op or of the framework crashed",
        "SIGABRT": ": native code gave up",
        "SIGBUS": ": native code touched memory that is not there",
    }.get(name, "")
    return f"was killed by {name}{hint}"


def worker_died(death: Death, model: str, request: int | None, doing: str) -> WorkerDied:
    """The error for a caller who was waiting for this worker while it was ``doing`` something."""
    message = f"the worker of model {model!r} (pid {death.pid}) {describe(death)} while {doing}"
    if death.stderr:
        shown = "\n".join("    " + line for line in death.stderr[-_SHOWN_LINES:])
        message += f"\nIts last words were:\n{shown}"
    return WorkerDied(
        message,
        model=model,
        pid=death.pid,
        signal=-death.returncode if death.returncode is not None and death.returncode < 0 else None,
        exit_code=death.returncode if death.returncode is not None and death.returncode >= 0 else None,
        stderr=death.stderr,
        request=request,
        out_of_memory=death.out_of_memory,
        stacks=death.stacks,
    )


def timed_out(death: Death | None, pid: int, model: str, request: int, what: str) -> InferTimeout:
    """The error for a caller whose worker was ended, because it was busy with ``what`` for too long."""
    message = f"{what} of model {model!r} did not finish in time; its worker (pid {pid}) was killed"
    stacks = "" if death is None else death.stacks
    if stacks:
        lines = stacks.splitlines()
        shown = "\n".join("    " + line for line in lines[:_SHOWN_LINES])
        more = f"\n    ... {len(lines) - _SHOWN_LINES} more lines are in .stacks" if len(lines) > _SHOWN_LINES else ""
        message += f"\nIt was doing this:\n{shown}{more}"
    return InferTimeout(message, model=model, request=request, stacks=stacks)
