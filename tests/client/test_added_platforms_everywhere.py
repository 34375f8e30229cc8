"""A real distribution that adds a platform, built and installed with pip: in this process and in workers."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from environments_for_tests import ROOT, interpreter, run_with

from neuropod_ope import NoMatchingEnvironment, PackageError, Runtime
from neuropod_ope.cli import main

pytestmark = pytest.mark.workers

PACKAGES = """
import sys
import numpy as np
from neuropod_affine.packager import create_affine_neuropod
x, y, z = ({"name": name, "dtype": "float32", "shape": ("batch", None)} for name in "xyz")
weight = np.float32([[1, 2], [3, 4]])
create_affine_neuropod(
    sys.argv[1], "affine", {"y": (weight, 1), "z": (weight, 0)}, [x], [y, z], platform_version_semver=sys.argv[2],
    test_input_data={"x": weight}, test_expected_out={"z": weight @ weight},
)
"""
X = np.float32([[1, 0]])


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder with wheels of the distribution: version 1.0, and a 2.0 that is the same."""
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "2.0"):
        source = folder / f"source-{version}"
        shutil.copytree(ROOT / "examples" / "affine", source)
        for file in ("setup.py", "neuropod_affine/__init__.py"):
            (source / file).write_text((source / file).read_text().replace('"1.0"', f'"{version}"'))
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, source)
    return folder


@pytest.fixture(scope="module")
def training_python(wheels):
    """A Python 3.6 in which the distribution is installed by the pip of a stock Python 3.6."""
    venv = wheels / "venv"
    run(interpreter("3.6"), "-m", "venv", venv)
    (wheel,) = wheels.glob("*-1.0-*.whl")
    run(venv / "bin/pip", "install", "--quiet", "numpy==1.16.6", wheel)
    return venv / "bin/python"


@pytest.fixture(scope="module")
def package_of(training_python):
    """Packages a model in its training environment, which the packager also tests it in."""

    def package(folder, version_range):
        run_with(training_python, "-c", PACKAGES, folder / "affine.neuropod", version_range)
        return folder / "affine.neuropod"

    return package


@pytest.fixture
def installed_here(wheels, tmp_path, monkeypatch):
    """The distribution, importable in this process; a worker of this interpreter would not find it."""
    (wheel,) = wheels.glob("*-1.0-*.whl")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "site", wheel)
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield
    for name in [name for name in sys.modules if name.startswith("neuropod_affine")]:
        del sys.modules[name]


def assert_answers(model):
    outputs = model.infer({"x": X})
    assert (outputs["y"].tolist(), outputs["z"].tolist()) == ([[2, 3]], [[1, 2]])
    assert list(model.infer({"x": X}, ["z"])) == ["z"]


def test_installed_in_an_applications_interpreter_it_runs_in_process(tmp_path, package_of, installed_here, capsys):
    package = package_of(tmp_path, "1.x")
    with Runtime(cache_dir=tmp_path / "cache") as runtime, runtime.load(package) as model:
        assert model.workers == ()
        assert_answers(model)
    assert main(["inspect", str(package), "--cache-dir", str(tmp_path / "cache")]) == 0
    shown = capsys.readouterr().out
    assert "neuropod-affine 1.x" in shown
    assert "yes, this interpreter has what it needs" in shown


@pytest.mark.parametrize(("version_range", "version"), [("*", "1.0"), ("2.x", "2.0")])
def test_for_a_worker_an_environment_is_built_with_the_version_that_is_installed_here_or_the_one_in_range(
    tmp_path, package_of, installed_here, wheels, monkeypatch, version_range, version
):
    links = filter(None, [str(wheels), os.environ.get("PIP_FIND_LINKS")])
    monkeypatch.setenv("PIP_FIND_LINKS", " ".join(links))
    package = package_of(tmp_path, version_range)
    with Runtime(cache_dir=tmp_path / "cache") as runtime, runtime.load(package, out_of_process=True) as model:
        (worker,) = model.workers
        assert worker.platform_version == version
        assert_answers(model)
    assert len(os.listdir(tmp_path / "cache" / "environments")) == 1


def test_a_range_that_no_version_satisfies_is_an_error(tmp_path, package_of, installed_here):
    package = package_of(tmp_path, "3.x")
    with Runtime(cache_dir=tmp_path / "cache") as runtime:
        with pytest.raises(NoMatchingEnvironment, match=r"has neuropod-affine 1\.0, and the package needs 3\.x"):
            runtime.load(package, out_of_process=False)
        with pytest.raises(NoMatchingEnvironment, match=r"versions that are known to work: 1\.0"):
            runtime.load(package)


def test_a_registered_interpreter_serves_a_platform_that_the_application_does_not_know(
    tmp_path, package_of, training_python, monkeypatch
):
    monkeypatch.setenv("NEUROPOD_OPE_CONFIG", str(tmp_path / "config"))
    package, another = package_of(tmp_path, "1.x"), tmp_path / "another"
    another.mkdir()
    later = package_of(another, "2.x")
    assert main(["env", "register", str(training_python), "--cache-dir", str(tmp_path / "cache")]) == 0
    with Runtime(cache_dir=tmp_path / "cache") as runtime:
        with runtime.load(package) as model:
            assert model.workers[0].python_version.startswith("3.6.")
            assert_answers(model)
        with pytest.raises(NoMatchingEnvironment, match=r"has neuropod-affine 1\.0, and the package needs 2\.x"):
            runtime.load(later)


def test_a_named_environment_may_know_a_platform_that_the_application_does_not(tmp_path, package_of, training_python):
    package = package_of(tmp_path, "*")
    with Runtime(cache_dir=tmp_path / "cache") as runtime:
        with runtime.load(package, environment=training_python) as model:
            assert model.workers[0].python_version.startswith("3.6.")
            assert_answers(model)
        with runtime.worker(training_python) as shared:
            assert_answers(shared.load(package))
        with pytest.raises(PackageError, match="platform 'affine' is not supported; supported are python, "):
            runtime.load(package)
        with pytest.raises(PackageError, match=r"platform 'affine' is not supported.*entry points neuropod_ope\."):
            runtime.load(package, environment=sys.executable)
