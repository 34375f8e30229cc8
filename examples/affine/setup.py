"""A distribution that adds the platform ``affine``: see docs/adding-a-framework.md."""

from setuptools import setup

setup(
    name="neuropod-affine",
    version="1.0",
    packages=["neuropod_affine"],
    python_requires=">=3.6",
    # What its framework needs. Not neuropod-worker: whoever loads a backend has it.
    install_requires=["numpy"],
    entry_points={"neuropod_ope.backends": ["affine = neuropod_affine.backend:load"]},
)
