"""Affine maps ``x @ weight + bias`` as neuropod packages: a small framework that is not part of neuropod_ope."""

__version__ = "1.0"
