"""What a model is worth. This code knows the problem, and no framework."""

import statistics
import time

import numpy as np
from problem import Digits

from neuropod_ope import Neuropod

CALLS = 500


def accuracy(model: Neuropod, digits: Digits) -> float:
    """The part of the digits that the model recognises."""
    probability = model.infer({"image": digits.images})["probability"]
    return float(np.mean(probability.argmax(axis=1) == digits.labels))


def median_call_us(model: Neuropod, digits: Digits) -> float:
    """The p50 of a call with one picture, in microseconds."""
    one = {"image": digits.images[:1]}
    durations = []
    for _ in range(CALLS):
        start = time.perf_counter()
        model.infer(one)
        durations.append(time.perf_counter() - start)
    return statistics.median(durations) * 1e6
