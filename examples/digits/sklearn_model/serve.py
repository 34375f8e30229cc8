"""The entry point of the packaged scikit-learn model: what runs in the worker."""

import os

import joblib
import numpy as np


def load(data_dir):
    """Called once, with the path of the packaged data; gives what is called with the inputs."""
    # A pickle: readable by the very scikit-learn that wrote it, which is why the lock pins that.
    classifier = joblib.load(os.path.join(data_dir, "classifier.joblib"))

    def infer(image):
        return {"probability": np.float32(classifier.predict_proba(image.reshape(-1, 64)))}

    return infer
