"""The package format: opening packages (here) and writing them (``packagers``)."""

from .reader import Package, open_package, read_package

__all__ = ["Package", "open_package", "read_package"]
