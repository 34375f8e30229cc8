"""Trains a support vector machine with scikit-learn and packages it as plain Python.

    python train_sklearn.py DIGITS.npz PACKAGE

Runs in the environment that its lock describes.
"""

import os
import sys
import tempfile

import joblib
from problem import INPUTS, OUTPUTS, read_training_digits
from sklearn.svm import SVC

from neuropod_worker.packagers import create_python_neuropod

HERE = os.path.dirname(os.path.abspath(__file__))


def main(digits_path, package_path):
    digits = read_training_digits(digits_path)
    classifier = SVC(probability=True, random_state=0)
    classifier.fit(digits.images.reshape(-1, 64), digits.labels)
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(HERE, "sklearn.lock")) as lock:
        saved = os.path.join(folder, "classifier.joblib")
        joblib.dump(classifier, saved)
        create_python_neuropod(
            neuropod_path=package_path,
            model_name="digits_sklearn",
            code_path_spec=[{"python_root": HERE, "dirs_to_package": ["sklearn_model"]}],
            data_paths=[{"path": saved, "packaged_name": "classifier.joblib"}],
            entrypoint_package="sklearn_model.serve",
            entrypoint="load",
            requirements=lock.read(),
            input_spec=INPUTS,
            output_spec=OUTPUTS,
            test_input_data={"image": digits.images[:2]},
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
