"""The worker distribution. A setup.py, because the pip of a stock Python 3.6 builds nothing newer."""

from setuptools import Extension, find_packages, setup

setup(
    name="neuropod-worker",
    version="0.1.0",
    description="What runs inside a model's environment: packaging, backends and the worker of neuropod-ope",
    license="Apache-2.0",
    python_requires=">=3.6",
    packages=find_packages(include=["neuropod_worker", "neuropod_worker.*"]),
    package_data={"neuropod_worker": ["py.typed"]},
    # One library for all interpreters (stable ABI). Without a compiler all works, and calls take longer.
    ext_modules=[
        Extension("neuropod_worker._native", ["neuropod_worker/_native.c"], py_limited_api=True, optional=True)
    ],
    options={"bdist_wheel": {"py_limited_api": "cp36"}},
    install_requires=["numpy"],
    extras_require={"serve": ["msgpack>=1.0"]},
)
