"""What a user installs works: both distributions, from the checkout, into an empty virtualenv."""

import subprocess
from pathlib import Path

import pytest
from environments_for_tests import interpreter

ROOT = Path(__file__).parent.parent

USES_IT = """
import os, sys, numpy as np
import neuropod_ope, neuropod_worker
from neuropod_ope import Runtime, create_python_neuropod
from neuropod_ope.environment.catalog import load_catalog
assert "site-packages" in neuropod_ope.__file__, neuropod_ope.__file__
assert load_catalog()
folder = sys.argv[1]
os.mkdir(folder + "/code")
open(folder + "/code/model.py", "w").write("def load(d): return lambda x: {'x': x}")
spec = [{"name": "x", "dtype": "float32", "shape": (None,)}]
path, code = folder + "/m.neuropod", [{"python_root": folder + "/code", "dirs_to_package": ["model.py"]}]
test = {"x": np.ones(2, "f4")}
create_python_neuropod(path, "m", [], code, "model", "load", spec, spec, test_input_data=test)
with Runtime(cache_dir=folder + "/cache") as runtime, runtime.load(path, out_of_process=True) as model:
    assert model.infer({"x": [1, 2]})["x"].tolist() == [1, 2]
"""


@pytest.mark.workers
def test_both_distributions_install_into_an_empty_virtualenv_and_work(tmp_path):
    python = tmp_path / "venv" / "bin" / "python"
    (tmp_path / "work").mkdir()
    subprocess.run([interpreter("3.11"), "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "./workers", "."]
    subprocess.run(install, cwd=ROOT, check=True, capture_output=True)
    run = subprocess.run([python, "-c", USES_IT, tmp_path / "work"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    command = subprocess.run([python.with_name("neuropod-ope"), "--version"], capture_output=True, text=True)
    assert command.stdout.startswith("neuropod-ope 0.")


@pytest.mark.workers
def test_the_worker_distribution_installs_with_the_pip_of_a_stock_python_3_6(tmp_path):
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([interpreter("3.6"), "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "./workers"]
    subprocess.run(install, cwd=ROOT, check=True, capture_output=True)
    code = "import neuropod_worker.packagers, sys; assert 'site-packages' in neuropod_worker.__file__"
    subprocess.run([python, "-c", code], cwd=tmp_path, check=True)
