"""Requirements compiled in a training environment, and the environment that is built from the lock elsewhere."""

import os

import pytest
from environments_for_tests import environment, run_with

from neuropod_ope import Runtime
from neuropod_worker.package import open_package

pytestmark = pytest.mark.workers

PACKAGES = """
import sys
from pathlib import Path
from sample_packages import python_neuropod
code = '''
import sys, numpy, six
def load(data):
    return lambda: {"versions": numpy.array(["%d.%d" % sys.version_info[:2], numpy.__version__, six.__version__])}
'''
out = [{"name": "versions", "dtype": "string", "shape": (3,)}]
python_neuropod(Path(sys.argv[1]), {"main.py": code}, input_spec=[], output_spec=out, requirements=sys.argv[2:])
"""
COMPILERS = {
    "uv": ("uv-py38", "3.8", ["numpy", "uv"]),
    "pip-tools": ("pip-tools-py37", "3.7", ["numpy", "pip-tools", "pip<23.2", "setuptools"]),
}


@pytest.mark.parametrize("compiler", sorted(COMPILERS))
def test_what_is_compiled_while_packaging_is_what_the_model_gets_on_the_python_that_packaged(compiler, tmp_path):
    name, version, pins = COMPILERS[compiler]
    python = environment(name, version, pins)
    run_with(python, "-c", PACKAGES, tmp_path, "six<1.16", "numpy<1.20", PATH=os.path.dirname(python))
    path = tmp_path / "packaged"
    lock = open_package(str(path)).requirements_lock.splitlines()
    assert lock[0] == f"# This file was made with Python {version}"
    assert [line for line in lock if line and line[0] not in "# "] == ["numpy==1.19.5", "six==1.15.0"]
    with Runtime(cache_dir=tmp_path / "cache") as runtime, runtime.load(path) as model:
        assert model.infer({})["versions"].tolist() == [version, "1.19.5", "1.15.0"]
