"""The package format: opening packages (here) and writing them (``writer``)."""

from neuropod_worker.package.reader import Package, open_package, read_package

__all__ = ["Package", "open_package", "read_package"]
