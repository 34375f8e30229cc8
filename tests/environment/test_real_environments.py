"""Environments from the real index under old and new interpreters."""

import logging
import subprocess
import time
from pathlib import Path

import pytest

from neuropod_ope.environment import Environment, EnvironmentPolicy, Requirement, ensure_environment
from neuropod_ope.environment.candidates import Candidate, candidates
from neuropod_ope.environment.catalog import Entry, load_catalog
from neuropod_ope.environment.interpreters import discover
from neuropod_ope.environment.resolve import resolve
from neuropod_ope.environment.store import Store
from neuropod_ope.environment.uv import Uv


def say(environment: Environment, code: str) -> str:
    path = [str(folder) for folder in environment.support]
    code = f"import sys; sys.path += {path!r}\n{code}"
    done = subprocess.run([environment.python, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def require_python(minor: str, store: Store) -> None:
    if minor not in [one.minor for one in discover(store)]:
        pytest.skip(f"this machine has no Python {minor}")


@pytest.mark.workers
@pytest.mark.parametrize("minor", ["3.6", "3.13"])
def test_a_lock_is_installed_under_the_python_that_it_names(minor: str, tmp_path: Path) -> None:
    require_python(minor, Store(tmp_path))
    requirement = Requirement("python", "*", f"# with Python {minor}\nsix==1.16.0\n")
    policy = EnvironmentPolicy(tmp_path)
    environment = ensure_environment(requirement, policy)
    code = "import six, numpy, msgpack; print('%d.%d' % sys.version_info[:2], six.__version__)"
    assert say(environment, code) == f"{minor} 1.16.0"
    started = time.perf_counter()
    assert ensure_environment(requirement, policy._replace(build="never", offline=True)) == environment
    assert time.perf_counter() - started < 0.5, "a second look runs no tool and no interpreter"


@pytest.mark.workers
def test_a_lock_without_a_header_finds_the_newest_python_that_has_wheels(tmp_path: Path) -> None:
    require_python("3.8", Store(tmp_path))
    requirement = Requirement("python", "*", "numpy==1.24.4\nscikit-learn==0.22.0\n")
    environment = ensure_environment(requirement, EnvironmentPolicy(tmp_path))
    assert say(environment, "import sklearn; print('%d.%d' % sys.version_info[:2])") == "3.8"


@pytest.mark.workers
def test_a_python_package_without_a_lock_gets_numpy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    require_python("3.7", Store(tmp_path))
    with caplog.at_level(logging.INFO, "neuropod_ope.environment"):
        environment = ensure_environment(Requirement("python", "3.7.x", None), EnvironmentPolicy(tmp_path))
    assert say(environment, "import numpy; print('%d.%d' % sys.version_info[:2])") == "3.7"
    assert environment.name in caplog.text


@pytest.mark.frameworks
def test_torch_1_1_is_built_and_runs(tmp_path: Path) -> None:
    environment = ensure_environment(Requirement("torchscript", "1.1.x", None), EnvironmentPolicy(tmp_path))
    code = "import torch, numpy; print(torch.__version__, torch.from_numpy(numpy.ones(3)).sum().item())"
    assert say(environment, code) == "1.1.0 3.0"


def catalog_entries() -> list[tuple[str, Entry]]:
    return [(name, entry) for name, platform in load_catalog().items() for entry in platform.entries]


@pytest.mark.frameworks
@pytest.mark.parametrize(("platform", "entry"), catalog_entries(), ids=lambda value: str(value)[:60])
def test_every_entry_of_the_catalog_resolves(platform: str, entry: Entry, tmp_path: Path) -> None:
    store = Store(tmp_path)
    requirement = Requirement(platform, f"={entry.version}", None)
    found: list[Candidate] = candidates(requirement, None, load_catalog(), discover(store))
    if not found:
        pytest.skip(f"this machine has none of Python {', '.join(entry.pythons)}")
    resolution = resolve(found[:1], (), Uv(EnvironmentPolicy(tmp_path)), store)
    assert any(pin.partition("+")[0] == entry.requirement for pin in resolution.pins)
