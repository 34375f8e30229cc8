"""The four models: what each needs, and which script trains and packages it there."""

from pathlib import Path
from typing import NamedTuple

from neuropod_ope.environment import Requirement

HERE = Path(__file__).resolve().parent


class Solution(NamedTuple):
    """``script`` is a training script with its first arguments; ``download_gb`` is rough, and at most."""

    framework: str
    requirement: Requirement
    script: tuple[str, ...]
    download_gb: float


def torchscript(version: str, download_gb: float) -> Solution:
    requirement = Requirement("torchscript", version, None)
    return Solution(f"torch {version}", requirement, ("train_torch.py", "torchscript"), download_gb)


def pinned(lock: str) -> Requirement:
    """Any Python for which all pins of the file can be installed."""
    return Requirement("python", "*", (HERE / lock).read_text())


SKLEARN = pinned("sklearn.lock")
SOLUTIONS = (
    torchscript("1.1.0", 0.7),
    # With its CUDA libraries, as the package index has it; a CPU wheel in a find-links folder has 0.2 GB.
    torchscript("2.13.0", 3.0),
    Solution("torch 1.4.0", pinned("pytorch.lock"), ("train_torch.py", "python"), 0.8),
    Solution("scikit-learn 1.5.2", SKLEARN, ("train_sklearn.py",), 0.1),
)
