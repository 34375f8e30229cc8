"""The worker distribution. A setup.py, because the pip of a stock Python 3.6 builds nothing newer."""

import sysconfig

from setuptools import Extension, find_packages, setup

# One library for all interpreters (stable ABI). Without a compiler all works, and small calls take longer.
# Interpreters without a GIL have no stable ABI.
NATIVE = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    name="neuropod-worker",
    version="0.1.0",
    description="What runs inside a model's environment: packaging, backends and the worker of neuropod-ope",
    license="Apache-2.0",
    python_requires=">=3.6",
    packages=find_packages(include=["neuropod_worker", "neuropod_worker.*"]),
    package_data={"neuropod_worker": ["py.typed"]},
    ext_modules=[
        Extension("neuropod_worker._native", ["neuropod_worker/_native.c"], py_limited_api=True, optional=True)
    ]
    if NATIVE
    else [],
    options={"bdist_wheel": {"py_limited_api": "cp36"}} if NATIVE else {},
    install_requires=["numpy"],
    extras_require={"serve": ["msgpack>=1.0"]},
)
