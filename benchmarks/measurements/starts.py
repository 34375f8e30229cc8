"""From nothing to a worker that answers, and what workers cost that only wait."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.measurements.round_trips import durations, percentiles
from benchmarks.packages import packaged
from benchmarks.processor_time import measured
from neuropod_ope import Neuropod, Runtime

_MS_PER_S = 1000
_ANSWER = """
def load(data_dir):
    return lambda x: {"y": x}
"""
_TENSORS = (
    [{"name": "x", "dtype": "float32", "shape": (None,)}],
    [{"name": "y", "dtype": "float32", "shape": (None,)}],
)
_INPUTS = {"x": np.zeros(8, np.float32)}
_LEAST_STARTS = 2
_CALLS = 2000
_MOST_LOOKS, _LOOK_S, _SETTLED_PERCENT = 20, 0.1, 1.0


def interpreters(code: str, at_once: int, longest_s: float) -> dict[str, float]:
    """Milliseconds until so many interpreters that run ``code`` have ended: the floor of a start."""
    command = [sys.executable, "-I", "-c", code]

    def start() -> None:
        for process in [subprocess.Popen(command) for _ in range(at_once)]:
            process.wait()

    return _median(start, longest_s)


def workers(at_once: int, longest_s: float) -> dict[str, float]:
    """Milliseconds until so many models, loaded in threads, have each given their first answer."""
    with packaged(_ANSWER, *_TENSORS) as path, Runtime() as runtime, ThreadPoolExecutor(at_once) as threads:

        def load(_: int) -> Neuropod:
            model = runtime.load(path, out_of_process=True)
            model.infer(_INPUTS)
            return model

        def start() -> Callable[[], Any]:
            models = list(threads.map(load, range(at_once)))
            return lambda: [model.close() for model in models]

        start()()  # what is kept of a package that has been seen before is kept
        return _median(start, longest_s)


def _median(start: Callable[[], Callable[[], Any] | None], longest_s: float) -> dict[str, float]:
    latest = time.monotonic() + longest_s
    taken = []
    while len(taken) < _LEAST_STARTS or time.monotonic() < latest:
        began = time.monotonic()
        end = start()
        taken.append((time.monotonic() - began) * _MS_PER_S)
        if end is not None:
            end()
    return {"p50": float(np.median(taken))}


def waiting(workers: int, idle_s: float, calls_s: float) -> dict[str, float]:
    """The CPU of caller and workers that wait, in percent of a core; then p50 and p99 (µs) of calls of one model."""
    with packaged(_ANSWER, *_TENSORS) as path, ExitStack() as opened:
        runtime = opened.enter_context(Runtime())
        models = [runtime.load(path, out_of_process=True) for _ in range(workers)]
        for model in models:
            model.infer(_INPUTS)
        _wait_settled()
        with measured() as used:
            time.sleep(idle_s)
        taken = durations(lambda: models[0].infer(_INPUTS), _CALLS, calls_s)
    return {"CPU": used.percent, **percentiles(taken)}


def _wait_settled() -> None:
    """Processes that have just started or answered are not idle yet, on a busy machine for many milliseconds."""
    for _ in range(_MOST_LOOKS):
        with measured() as used:
            time.sleep(_LOOK_S)
        if used.percent < _SETTLED_PERCENT:
            return
