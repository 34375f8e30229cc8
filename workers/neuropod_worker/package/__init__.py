"""The package format: opening packages (here) and writing them (``writer``)."""

from neuropod_worker.package.package import Package
from neuropod_worker.package.reader import open_package, read_package

__all__ = ["Package", "open_package", "read_package"]
