"""What runs inside a model's environment: package format, packagers, backends and the worker program.

CPython 3.6 and later. Packaging needs numpy only; serving a model also needs msgpack.
Nothing in here imports ``neuropod_ope``.
"""

__version__ = "0.1.0"
