"""Calls that compute for milliseconds, from two threads at once."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.packages import packaged
from neuropod_ope import Neuropod, Runtime

_THREADS = 2
_PURE_PYTHON = """
import numpy as np


def load(data_dir):
    def model(x):
        total = 0
        for number in range(500_000):  # 20 ms and more
            total += number
        return {"y": x + total}
    return model
"""
_NUMPY = """
import numpy as np


def load(data_dir):
    matrix = np.random.default_rng(0).random((700, 700))  # in which BLAS uses all the threads that it has
    return lambda x: {"y": x + (matrix @ matrix)[0, 0]}
"""
_MODELS = {"pure Python": _PURE_PYTHON, "numpy": _NUMPY}
_NUMBER = {"dtype": "float64", "shape": (1,)}
_TENSORS = ([{"name": "x", **_NUMBER}], [{"name": "y", **_NUMBER}])


def two_models(out_of_process: bool, seconds: float) -> dict[str, float]:
    """Calls a second of two pure-Python models together, one thread each, in this process or in a worker each."""
    with packaged(_PURE_PYTHON, *_TENSORS) as path, Runtime() as runtime:
        models = [runtime.load(path, out_of_process=out_of_process) for _ in range(_THREADS)]
        return _calls_of(models, seconds)


def instances(model: str, count: int, seconds: float) -> dict[str, float]:
    """Calls a second of one model in so many workers, from two threads."""
    with packaged(_MODELS[model], *_TENSORS) as path, Runtime() as runtime:
        return _calls_of([runtime.load(path, out_of_process=True, instances=count)] * _THREADS, seconds)


def _calls_of(models: Sequence[Neuropod], seconds: float) -> dict[str, float]:
    """Of a thread for each of these handles, together."""
    inputs: dict[str, Any] = {"x": np.zeros(1)}
    with ThreadPoolExecutor(len(models)) as threads:
        list(threads.map(lambda model: model.infer(inputs), models))
        until = time.perf_counter() + seconds

        def rate(model: Neuropod) -> float:
            done, began = 0, time.perf_counter()
            while True:
                model.infer(inputs)
                done += 1
                now = time.perf_counter()
                if now >= until:
                    return done / (now - began)

        return {"calls": sum(threads.map(rate, models))}
