"""Writes the handwritten digits that ship inside scikit-learn to a file that needs no scikit-learn.

    python export_digits.py DIGITS.npz

Runs in the environment of the scikit-learn model.
"""

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

digits = load_digits()
# Pixels are 0 to 16. Every digit is as frequent in one part as in the other.
training_images, held_out_images, training_labels, held_out_labels = train_test_split(
    np.float32(digits.images / 16), digits.target, test_size=0.25, random_state=0, stratify=digits.target
)
np.savez(
    sys.argv[1],
    training_images=training_images,
    training_labels=training_labels,
    held_out_images=held_out_images,
    held_out_labels=held_out_labels,
)
