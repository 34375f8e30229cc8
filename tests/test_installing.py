"""What a user installs works: both distributions, from the checkout, into an empty virtualenv."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from environments_for_tests import interpreter

from neuropod_ope import Runtime

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


COMPILER = sysconfig.get_config_var("CC").split()[0]


@pytest.mark.workers
@pytest.mark.parametrize("compiler", [COMPILER, "false"])
def test_a_compiler_makes_native_code_and_none_is_needed(tmp_path, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler} on this machine")
    made_before = shutil.ignore_patterns("build", "*.egg-info", "*.so")
    shutil.copytree(ROOT / "workers", tmp_path / "workers", ignore=made_before)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([interpreter("3.11"), "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", tmp_path / "workers"]
    subprocess.run(install, env={**os.environ, "CC": compiler}, check=True, capture_output=True)
    shows = "from neuropod_worker.shm import native; print(native.library is not None)"
    shown = subprocess.run([python, "-c", shows], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == str(compiler != "false")


PACKAGES = """
import os, numpy as np
import neuropod_worker
from neuropod_worker.packagers import create_python_neuropod, randomify_neuropod
assert "site-packages" in neuropod_worker.__file__, neuropod_worker.__file__
os.mkdir("code")
open("code/model.py", "w").write("def load(d): return lambda x: {'x': x + 1}")
spec = [{"name": "x", "dtype": "float32", "shape": (None,)}]
code = [{"python_root": "code", "dirs_to_package": ["model.py"]}]
sample = {"test_input_data": {"x": np.ones(2, "f4")}, "test_expected_out": {"x": [2, 2]}}
create_python_neuropod("m.neuropod", "m", [], code, "model", "load", spec, spec, **sample)
randomify_neuropod("r.neuropod", spec, spec, test_input_data={"x": np.ones(2, "f4")})
wrong = dict(sample, test_expected_out={"x": [2, 3]})
try:
    create_python_neuropod("n", "m", [], code, "model", "load", spec, spec, **wrong)
except ValueError:
    print(sorted(os.listdir(".")))
"""


@pytest.mark.workers
@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8"])
def test_models_are_packaged_in_an_old_virtualenv_with_the_pip_that_came_with_it(tmp_path, version):
    python = tmp_path / "venv" / "bin" / "python"
    work = tmp_path / "work"
    work.mkdir()
    subprocess.run([interpreter(version), "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "./workers"]
    subprocess.run(install, cwd=ROOT, check=True, capture_output=True)
    run = subprocess.run([python, "-c", PACKAGES], cwd=work, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "['code', 'm.neuropod', 'r.neuropod']"
    with Runtime(cache_dir=tmp_path / "cache") as runtime, runtime.load(work / "m.neuropod") as model:
        assert model.infer({"x": [1, 2]})["x"].tolist() == [2, 3]
