"""The models: what each needs, and which script trains and packages it there."""

import os
from pathlib import Path
from typing import NamedTuple

from neuropod_ope.environment import Requirement

HERE = Path(__file__).resolve().parent


class Solution(NamedTuple):
    """``script`` is a training script with its first arguments; ``download_gb`` is rough."""

    framework: str
    requirement: Requirement
    script: tuple[str, ...]
    download_gb: float


def torchscript(version: str, download_gb: float) -> Solution:
    requirement = Requirement("torchscript", version, None)
    return Solution(f"torch {version}", requirement, ("train_torch.py", "torchscript"), download_gb)


def tensorflow(version: str, download_gb: float) -> Solution:
    requirement = Requirement("tensorflow", version, None)
    return Solution(f"tensorflow {version}", requirement, ("train_tensorflow.py",), download_gb)


def pinned(lock: str) -> Requirement:
    """Any Python for which all pins of the file can be installed."""
    return Requirement("python", "*", (HERE / lock).read_text())


def in_a_folder_of_wheels(name: str) -> bool:
    """Whether pip's find-links, which the library honours, already have the wheel on this machine."""
    folders = os.environ.get("PIP_FIND_LINKS", "").split()
    return any(wheel for folder in folders for wheel in Path(folder).glob(f"{name}*.whl"))


SKLEARN = pinned("sklearn.lock")
SOLUTIONS = (
    torchscript("1.1.0", 0.7),
    # From the package index it brings its CUDA libraries.
    torchscript("2.13.0", 0.1 if in_a_folder_of_wheels("torch-2.13.0") else 3.0),
    tensorflow("1.13.1", 0.1),
    tensorflow("2.21.0", 0.4),
    Solution("Keras 2.11.0", Requirement("tensorflow", "2.11.0", None), ("train_keras.py",), 0.3),
    Solution("torch 1.4.0", pinned("pytorch.lock"), ("train_torch.py", "python"), 0.8),
    Solution("scikit-learn 1.5.2", SKLEARN, ("train_sklearn.py",), 0.1),
)
