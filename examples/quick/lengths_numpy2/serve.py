"""Lengths of vectors, as one writes that for numpy 2: ``vector_norm`` is not in numpy 1."""

import numpy as np


def load(data_dir):
    def infer(vectors):
        return {"length": np.linalg.vector_norm(vectors, axis=1), "numpy_version": np.array(np.__version__)}

    return infer
