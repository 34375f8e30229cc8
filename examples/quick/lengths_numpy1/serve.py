"""Lengths of vectors, as one wrote that for numpy 1: ``asfarray`` is gone from numpy 2."""

import numpy as np


def load(data_dir):
    def infer(vectors):
        vectors = np.asfarray(vectors, dtype=np.float32)
        return {"length": np.sqrt((vectors**2).sum(axis=1)), "numpy_version": np.array(np.__version__)}

    return infer
