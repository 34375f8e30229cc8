"""A TensorFlow nightly from the index, and a development build of torch from an index that the test makes."""

import csv
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments_for_tests import locked_environment

from neuropod_ope.environment import Environment, EnvironmentPolicy, Requirement, ensure_environment
from neuropod_ope.environment.catalog import load_catalog
from neuropod_ope.environment.interpreters import discover
from neuropod_ope.environment.listing import Listing
from neuropod_ope.environment.offered import offered_versions
from neuropod_ope.environment.store import Store
from neuropod_ope.environment.uv import Uv

pytestmark = pytest.mark.frameworks

DEVELOPMENT = "2.99.0.dev20260101"


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path)  # gigabytes that pytest would keep


def say(environment: Environment, code: str) -> str:
    done = subprocess.run([environment.python, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_tensorflow_nightly_from_the_index_is_built_and_runs(scratch: Path) -> None:
    policy = EnvironmentPolicy(scratch)
    store, platform = Store(scratch), load_catalog()["tensorflow"]
    versions = offered_versions(Listing(platform.offered, Uv(policy), store).asked())
    nightly = next((version for version in versions if ".dev" in version), None)
    if nightly is None or not {"3.12", "3.13"} & {one.minor for one in discover(store)}:
        pytest.skip("the index has no nightly, or this machine no Python for it")
    release = nightly.partition(".dev")[0]
    found = ensure_environment(Requirement("tensorflow", f">={release}-dev", None), policy)
    code = "import tensorflow as tf; print(tf.reduce_sum(tf.ones((2, 3))).numpy(), tf.__version__)"
    total, version = say(found, code).split()
    assert total == "6.0"
    assert version.startswith(f"{release}-dev")


def test_a_development_build_of_torch_from_a_folder_of_wheels_is_installed_and_runs(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = Path(locked_environment("torch-2.13.0-py311"))
    folder = scratch / "wheels"
    development_build(next((python.parent.parent / "lib").glob("python*/site-packages")), folder)
    given = filter(None, [str(folder), Uv(EnvironmentPolicy(scratch)).index_options.sources.get("UV_FIND_LINKS")])
    monkeypatch.setenv("UV_FIND_LINKS", ",".join(given))
    monkeypatch.setenv("UV_CACHE_DIR", str(scratch / "uv"))  # uv would keep the build for good
    requirement = Requirement("torchscript", ">=2.99.0-dev", None)
    found = ensure_environment(requirement, EnvironmentPolicy(scratch / "cache"))
    code = "import torch, importlib.metadata as m; print(torch.ones(3).sum().item(), m.version('torch'))"
    assert say(found, code) == f"3.0 {DEVELOPMENT}"


def development_build(site_packages: Path, folder: Path) -> None:
    """The installed torch as a wheel of a version that has not been released."""
    (installed,) = site_packages.glob("torch-*.dist-info")
    rows = csv.reader((installed / "RECORD").read_text(encoding="utf-8").splitlines())
    names = [row[0] for row in rows if not row[0].startswith((installed.name, "..")) and "__pycache__" not in row[0]]
    info = f"torch-{DEVELOPMENT}.dist-info"
    folder.mkdir()
    with zipfile.ZipFile(folder / f"torch-{DEVELOPMENT}-cp311-cp311-linux_x86_64.whl", "w") as wheel:
        for name in names:
            wheel.write(site_packages / name, name)
        for name in ("METADATA", "WHEEL"):
            text = (installed / name).read_text(encoding="utf-8")
            wheel.writestr(f"{info}/{name}", re.sub(r"(?m)^Version: .*", f"Version: {DEVELOPMENT}", text))
        record = "".join(f"{name},,\n" for name in [*wheel.namelist(), f"{info}/RECORD"])
        wheel.writestr(f"{info}/RECORD", record)
