"""What comes of every fault in `misbehaving.py`: what the caller sees, and what becomes of the worker."""

import signal
from typing import NamedTuple

from neuropod_ope import InferTimeout, ModelError, SharedMemoryExhausted, SpecError, WorkerDied

LIVES, LIVES_WITH_A_CHILD, DIES, DIES_SOON = "lives", "lives with a child", "dies", "dies soon"
HANG_S = 0.5  # a timeout for what does not come back


class Outcome(NamedTuple):
    """``error`` is what the call raises, None if it is answered rightly; ``says`` is in its text; ``facts`` are
    attributes of it. The worker then lives on, or is dead, or will soon be,
    which this call and the next ones may notice."""

    error: "type | None"
    says: str
    worker: str
    facts: dict = {}  # noqa: RUF012 - nobody changes it
    timeout: float = 60.0


def died_of(number: signal.Signals) -> Outcome:
    return Outcome(WorkerDied, number.name, DIES, {"signal": number, "exit_code": None})


def exited_with(status: int) -> Outcome:
    return Outcome(WorkerDied, f"exited with status {status}", DIES, {"signal": None, "exit_code": status})


def raised(name: str, says: str = "") -> Outcome:
    return Outcome(ModelError, says or name, LIVES, {"remote_type": name})


HANGS = Outcome(InferTimeout, "was killed", DIES, {}, HANG_S)
ANSWERS = Outcome(None, "", LIVES)


def unfit(says: str) -> Outcome:
    return Outcome(SpecError, says, LIVES)


OUTCOMES = {
    "killed": died_of(signal.SIGKILL),
    "terminated": died_of(signal.SIGTERM),
    "segmentation fault": died_of(signal.SIGSEGV),
    "bus error": died_of(signal.SIGBUS),
    "abort": died_of(signal.SIGABRT),
    "native stack overflow": died_of(signal.SIGSEGV),
    "alarm": died_of(signal.SIGALRM),
    "exits with 7": exited_with(7),
    "exits with 0": exited_with(0),
    "killed by its own thread": exited_with(9),
    "kills its process group": died_of(signal.SIGKILL),
    # Without a pidfd the end of the socket means death, so the other program may not get to its end.
    "becomes another program": Outcome(WorkerDied, "exited with status 5|SIGKILL", DIES),
    "endless loop": HANGS,
    "deadlock": HANGS,
    "stuck in C with the GIL": HANGS,
    "stuck in C with all signals blocked": HANGS,
    "stops itself": HANGS,
    "stuck with a forked child": HANGS,
    "raises": raised("ValueError", "too bad"),
    "raises SystemExit": raised("SystemExit"),
    "raises KeyboardInterrupt": raised("KeyboardInterrupt"),
    "raises a base exception": raised("Odd"),
    "python stack overflow": raised("RecursionError"),
    "raises what cannot be pickled": raised("ValueError", "lock"),
    "raises a huge text": raised("ValueError", "49800000 characters left out"),
    "raises what is no UTF8": raised("ValueError", r"\\udcff\\udc80 and "),
    "raises what has no text": raised("Textless", "the text of the exception cannot be had: RuntimeError"),
    "raises what exits when asked for its text": raised("Exiting", "cannot be had: SystemExit"),
    "raises a long chain": raised("ValueError", "299"),
    "raises with a name of its own": Outcome(ModelError, "ÄÄÄ", LIVES),
    "out of memory in Python": raised("MemoryError"),
    "returns nothing": unfit("must return a dict of arrays by output name, but returned NoneType"),
    "returns a list": unfit("but returned list"),
    "returns an object": unfit("output 'y' has dtype object"),
    "returns another dtype": unfit("output 'y': dtype should be float64, but is float32"),
    "returns another rank": unfit(r"output 'y': should have 1 dimensions \(\*\), but has 2"),
    "returns another name": unfit("the model returned 'z', which is no output of its problem definition: 'y'"),
    "returns too much": unfit("the model returned 'z'"),
    "returns ten thousand outputs": unfit("the model returned 'y0'"),
    "returns a name that is no text": unfit("the model returned 3"),
    "returns ragged lists": unfit("output 'y'"),
    "returns more than there is memory": Outcome(SharedMemoryExhausted, "no shared memory for", LIVES),
    "forks a child that lives on": ANSWERS._replace(worker=LIVES_WITH_A_CHILD),
    "forks and returns twice": ANSWERS,
    "forks and raises twice": raised("ValueError", "twice"),
    "leaves a thread": ANSWERS,
    "leaves a thread that writes to its input": ANSWERS,
    "leaves a thread that raises": ANSWERS,
    "closes all descriptors": ANSWERS._replace(worker=DIES_SOON),
    "closes its output": ANSWERS,
    "closes its output in Python": ANSWERS,
    "prints megabytes": ANSWERS,
    "prints what is no text": ANSWERS,
    "changes the directory": ANSWERS,
    "stands in a directory that is gone": ANSWERS,
    "clears the environment": ANSWERS,
    "changes signal handlers": ANSWERS,
    "asks to be interrupted all the time": ANSWERS,
    "breaks the interpreters settings": ANSWERS,
    "limits its files": ANSWERS,
}
