"""The problem that every model of this example solves: which digit is in the picture?

The definition knows no framework. This module is imported by the application and, on Pythons as old as 3.6,
by the training scripts.
"""

from typing import NamedTuple

import numpy as np

INPUTS = [{"name": "image", "dtype": "float32", "shape": ("batch", 8, 8)}]
OUTPUTS = [{"name": "probability", "dtype": "float32", "shape": ("batch", 10)}]


class Digits(NamedTuple):
    """Pictures of digits with their labels: arrays of shape (n, 8, 8), values 0 to 1, and (n,)."""

    images: np.ndarray
    labels: np.ndarray


def read_training_digits(path):
    """The digits to learn from, in the file that ``export_digits.py`` wrote."""
    with np.load(path) as file:
        return Digits(file["training_images"], file["training_labels"])


def read_held_out_digits(path):
    """The digits that no model has seen."""
    with np.load(path) as file:
        return Digits(file["held_out_images"], file["held_out_labels"])
