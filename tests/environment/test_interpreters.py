import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neuropod_ope.environment import (
    EnvironmentBuildError,
    EnvironmentPolicy,
    NoMatchingEnvironment,
    Requirement,
    ensure_environment,
    named_environment,
)
from neuropod_ope.environment.interpreters import ProbeError, discover, named, probe
from neuropod_ope.environment.store import Store

pytestmark = pytest.mark.workers


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without pyenv and uv, whose PATH is one empty folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("HOME", "PYENV_ROOT", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return folder


def base_python() -> str:
    return os.path.realpath(sys.executable)


def test_an_interpreter_says_what_it_is() -> None:
    found = probe(Path(sys.executable))
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.minor == "{}.{}".format(*sys.version_info[:2])
    assert found.is_base == (sys.prefix == sys.base_prefix)


def test_what_fails_to_run_is_not_believed_and_runs_once_only(
    bare: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "neuropod_ope.environment")
    marker = tmp_path / "runs"
    script(bare / "python3.99", f"echo run >> {marker}; echo 'pyenv: not found' >&2; exit 127")
    store = Store(tmp_path / "cache")
    for _ in range(2):
        assert [one for one in discover(store) if "python3.99" in one.path] == []
    assert marker.read_text() == "run\n"
    assert "python3.99 is passed over: exit code 127: pyenv: not found" in caplog.text
    discover(store, retry_failed=True)
    assert marker.read_text() == "run\nrun\n"
    with pytest.raises(ProbeError, match="exit code 127: pyenv: not found"):
        probe(bare / "python3.99")


def test_a_shim_that_works_stands_for_what_it_starts(bare: Path, tmp_path: Path) -> None:
    script(bare / "python3.8", f'exec {base_python()} "$@"')
    assert {one.path for one in discover(Store(tmp_path / "cache"))} >= {base_python()}
    assert not any(one.path == str(bare / "python3.8") for one in discover(Store(tmp_path / "cache")))


def test_interpreters_of_pyenv_and_uv_are_found(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("PYENV_ROOT/versions/3.0.0", "XDG_DATA_HOME/uv/python/cpython-3.0.0", "HOME/.pyenv/versions/x"):
        answer = f'["{tmp_path}/{folder}/real", "3.30.0", "cpython", "abi", "linux", "glibc", true]'
        script(tmp_path / folder / "bin/python3.30", f"echo '{answer}'")
    found = [one.path for one in discover(Store(tmp_path / "cache")) if one.minor == "3.30"]
    assert len(found) == 3


def test_pyenvs_shims_are_not_run_but_lead_to_its_versions(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "elsewhere"
    script(root / "shims/python3.31", f"touch {tmp_path}/was-run; exit 127")
    answer = f'["{root}/real", "3.31.0", "cpython", "abi", "linux", "", true]'
    script(root / "versions/3.31.0/bin/python3.31", f"echo '{answer}'")
    monkeypatch.setenv("PATH", str(root / "shims"))
    assert "3.31" in [one.minor for one in discover(Store(tmp_path / "cache"))]
    assert not (tmp_path / "was-run").exists()


def test_what_is_no_base_interpreter_or_too_old_is_left_out(bare: Path, tmp_path: Path) -> None:
    for name, facts in (
        ("python3.41", '"3.41.0", "cpython", "", "linux", "", false'),
        ("python3.42", '"3.42.0", "pypy", "", "linux", "", true'),
        ("python3.5", '"3.5.9", "cpython", "", "linux", "", true'),
    ):
        script(bare / name, f"echo '[\"{bare}/{name}\", {facts}]'")
    found = [one.minor for one in discover(Store(tmp_path / "cache"))]
    assert not {"3.41", "3.42", "3.5"} & set(found)


def test_one_that_was_found_stays_known_until_it_changes(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "cache")
    fake = script(bare / "python3.30", f'echo \'["{bare}/python3.30", "3.30.0", "cpython", "", "l", "", true]\'')
    assert "3.30" in [one.minor for one in discover(store)]
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    assert "3.30" in [one.minor for one in discover(store)]
    fake.unlink()
    assert "3.30" not in [one.minor for one in discover(store)]


def snapshot(folder: Path) -> list[tuple[str, float]]:
    return sorted((str(path), path.lstat().st_mtime) for path in folder.rglob("*"))


def test_an_interpreter_that_is_named_is_used_as_it_is_with_an_overlay(tmp_path: Path) -> None:
    own = tmp_path / "own"
    subprocess.run([sys.executable, "-m", "uv", "venv", "-q", "--python", sys.executable, own], check=True)
    with pytest.raises(NoMatchingEnvironment, match="has no numpy"):
        named_environment(own / "bin/python", EnvironmentPolicy(tmp_path / "cache"))
    (site_packages,) = own.glob("lib/python*/site-packages")
    for part in Path(np.__file__).parent.parent.glob("numpy*"):
        (site_packages / part.name).symlink_to(part)
    before = snapshot(own)
    environment = named_environment(own / "bin/python", EnvironmentPolicy(tmp_path / "cache"))
    assert environment.python == own / "bin/python", "a virtualenv's Python is not resolved to its base"
    assert environment.name == ""
    assert snapshot(own) == before
    (overlay,) = environment.support
    code = f"import sys; sys.path.append({str(overlay)!r}); import msgpack; print(msgpack.packb(1))"
    done = subprocess.run([environment.python, "-I", "-B", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == repr(b"\x01"), done.stderr
    never = EnvironmentPolicy(tmp_path / "cache", build="never")
    assert named_environment(sys.executable, never).support == (overlay,), "shared by one ABI"


def test_what_is_named_and_cannot_run_is_an_error(tmp_path: Path) -> None:
    policy = EnvironmentPolicy(tmp_path / "cache", build="never")
    with pytest.raises(NoMatchingEnvironment, match="No such file"):
        named_environment(tmp_path / "absent", policy)
    old = script(tmp_path / "old", 'echo \'["/old", "3.5.2", "cpython", "", "linux", "", true]\'')
    with pytest.raises(NoMatchingEnvironment, match="workers need"):
        named_environment(old, policy)
    with pytest.raises(NoMatchingEnvironment, match="env build --python"):
        named_environment(sys.executable, policy)


def test_the_folder_of_a_virtualenv_stands_for_its_python(tmp_path: Path) -> None:
    own = tmp_path / "own"
    script(own / "bin/python", 'echo \'["/old", "3.5.2", "cpython", "", "linux", "", true]\'')
    policy = EnvironmentPolicy(tmp_path / "cache", build="never")
    with pytest.raises(NoMatchingEnvironment, match=rf"{own}/bin/python is Python 3\.5\.2"):
        named_environment(own, policy)
    with pytest.raises(NoMatchingEnvironment, match=rf"{tmp_path} is a folder without bin/python"):
        named_environment(tmp_path, policy)


@pytest.mark.parametrize("program", ["/bin/ls", "/bin/echo", "/bin/true", "/etc/passwd"])
def test_what_is_no_python_gives_a_short_error_that_names_it(tmp_path: Path, program: str) -> None:
    with pytest.raises(NoMatchingEnvironment, match=rf"^{program} cannot run a model: ") as caught:
        named_environment(program, EnvironmentPolicy(tmp_path / "cache"))
    assert "import" not in str(caught.value)
    assert len(str(caught.value)) < 120


def test_a_cache_folder_that_cannot_be_made_is_named_with_what_to_do() -> None:
    policy = EnvironmentPolicy(Path("/proc/x"))
    with pytest.raises(EnvironmentBuildError, match=r"^the cache folder /proc/x cannot be used.*NEUROPOD_OPE_CACHE"):
        named_environment(sys.executable, policy)
    with pytest.raises(EnvironmentBuildError, match=r"^the cache folder /proc/x cannot be used.*cache_dir="):
        ensure_environment(Requirement("python", "*", "not-installed==1.0"), policy)


def test_a_named_interpreter_does_not_become_a_candidate(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    own = script(tmp_path / "own", 'echo \'["/x/own", "3.77.0", "cpython", "", "l", "", true]\'')
    assert named(own, store).minor == "3.77"
    assert "3.77" not in [one.minor for one in discover(store)]
