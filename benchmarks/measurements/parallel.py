"""Calls that compute for tens of milliseconds, from two threads at once."""

import time
from concurrent.futures import ThreadPoolExecutor

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


def pure_python(out_of_process: bool, seconds: float) -> dict[str, float]:
    """Calls a second of two models together, one thread each, in this process or in a worker each."""
    one_number = {"dtype": "float64", "shape": (1,)}
    with (
        packaged(_PURE_PYTHON, [{"name": "x", **one_number}], [{"name": "y", **one_number}]) as path,
        Runtime() as runtime,
        ThreadPoolExecutor(_THREADS) as threads,
    ):
        models = [runtime.load(path, out_of_process=out_of_process) for _ in range(_THREADS)]
        inputs = {"x": np.zeros(1)}
        for model in models:
            model.infer(inputs)
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
