"""A Ray actor that takes arrays by value and gives arrays back."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import ray

from benchmarks.cases import Case
from benchmarks.contenders import Exchange


@ray.remote
class _Actor:
    def add(self, *inputs: np.ndarray) -> list[np.ndarray]:
        return [x + 0 for x in inputs]

    def add_one(self, x: np.ndarray) -> np.ndarray:
        return x + 0


@contextmanager
def open_by_value(case: Case) -> Iterator[Exchange]:
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error", configure_logging=False)
    try:
        actor = _Actor.remote()
        inputs = case.arrays()
        if case.count == 1:
            yield Exchange(inputs, lambda: [ray.get(actor.add_one.remote(inputs[0]))])
        else:
            yield Exchange(inputs, lambda: ray.get(actor.add.remote(*inputs)))
    finally:
        ray.shutdown()
