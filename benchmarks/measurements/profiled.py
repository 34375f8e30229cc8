"""Calls back to back while py-spy looks, a thousand times a second, at which line the caller and the worker are."""

import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.contenders.neuropod import model_of
from benchmarks.units import US_PER_S

_SAMPLES_PER_S = 1000
_WARM_UP_CALLS = 500


def lines(case: str, seconds: int, sampler: str) -> dict[str, dict[str, float]]:
    """Microseconds of a call by line ("FILE:NUMBER"), of the caller and of the worker; ``sampler`` is py-spy."""
    (x,) = CASES[case].arrays()
    with model_of(CASES[case], out_of_process=True) as model:
        for _ in range(_WARM_UP_CALLS):
            model.infer({"x0": x})
        pids = {"caller": getpid(), "worker": model.workers[0].pid}
        with tempfile.TemporaryDirectory() as folder, _sampled(pids, seconds, sampler, Path(folder)) as samplers:
            calls, began = 0, time.perf_counter()
            while any(process.poll() is None for process in samplers):
                for _ in range(_WARM_UP_CALLS):
                    model.infer({"x0": x})
                calls += _WARM_UP_CALLS
            mean_us = (time.perf_counter() - began) / calls * US_PER_S
            return {side: _by_line((Path(folder) / side).read_text(), mean_us) for side in pids}


@contextmanager
def _sampled(
    pids: dict[str, int], seconds: int, sampler: str, folder: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    options = ["--rate", str(_SAMPLES_PER_S), "--duration", str(seconds), "--format", "raw", "--full-filenames"]
    # Not blocking: a caller that is halted for each look would find that its worker has always answered.
    command = [sampler, "record", *options, "--idle", "--nonblocking"]
    processes = [
        subprocess.Popen([*command, "--pid", str(pid), "--output", str(folder / side)], stdout=subprocess.DEVNULL)
        for side, pid in pids.items()
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _by_line(stacks: str, mean_us: float) -> dict[str, float]:
    """From lines of "function (file:line);function (file:line) samples", outermost first."""
    samples: Counter[str] = Counter()
    for stack in stacks.splitlines():
        frames, _, count = stack.rpartition(" ")
        if "infer (" in frames or "serve (" in frames:  # not the threads that only wait
            innermost = frames.rpartition(";")[2]
            samples[innermost.rpartition("(")[2].rstrip(")")] += int(count)
    total = sum(samples.values())
    return {line: count / total * mean_us for line, count in samples.items()}
