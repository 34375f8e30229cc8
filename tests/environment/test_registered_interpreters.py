"""Existing environments that the user has registered serve what they satisfy, as they are."""

import subprocess
import sys
from pathlib import Path

import pytest
from environments_for_tests import locked_environment

from neuropod_ope.cli import main
from neuropod_ope.environment import (
    EnvironmentBuildError,
    EnvironmentPolicy,
    NoMatchingEnvironment,
    Requirement,
    ensure_environment,
    named_environment,
)
from neuropod_ope.environment.registry import Registry

from .local_index import wheel

LOCK = "tiny==1.0\n"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NEUROPOD_OPE_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A virtualenv of the user's with a package that no index has."""
    folder = tmp_path / "own"
    wheels = [tmp_path / f"{name}-1.0-py3-none-any.whl" for name in ("tiny", "numpy")]
    for path in wheels:
        path.write_bytes(wheel(path.name.split("-")[0], "1.0"))
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, folder], check=True)
    subprocess.run([*uv, "pip", "install", "-q", "--python", folder / "bin/python", *wheels], check=True)
    return folder


def test_what_is_registered_is_kept_in_order_and_once(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "new")
    assert registry.interpreters() == []
    for name in "abca":
        registry.add(Path(f"/{name}"))
    assert registry.interpreters() == [Path("/b"), Path("/c"), Path("/a")]
    assert registry.remove(Path("/c"))
    assert not registry.remove(Path("/c"))
    assert Registry(tmp_path / "new").interpreters() == [Path("/b"), Path("/a")]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["interpreters.json"]


@pytest.mark.parametrize("text", ["{", "[]", '{"interpreters": [1]}', "{}"])
def test_a_file_that_cannot_be_understood_is_an_error_that_shows_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "interpreters.json").write_text(text)
    with pytest.raises(EnvironmentBuildError, match=r"interpreters\.json cannot be read .* write \{"):
        Registry(tmp_path).interpreters()


@pytest.mark.workers
def test_a_registered_interpreter_serves_what_it_satisfies_and_nothing_is_built(
    config: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    assert main(["env", "register", str(own), "--cache-dir", str(cache)]) == 0
    never = EnvironmentPolicy(cache, build="never")
    found = ensure_environment(Requirement("python", "*", LOCK), never)
    assert (found.python, found.name) == (own / "bin/python", "")
    assert len(found.support) == 1
    capsys.readouterr()
    main(["env", "list", "--cache-dir", str(cache)])
    assert f"registered: {own}/bin/python" in capsys.readouterr().out
    assert main(["env", "unregister", str(own)]) == 0
    with pytest.raises(NoMatchingEnvironment):
        ensure_environment(Requirement("python", "*", LOCK), never)
    assert main(["env", "unregister", str(own)]) == 1
    assert "is not registered; registered are: none" in capsys.readouterr().err


@pytest.mark.workers
def test_one_that_does_not_serve_or_is_gone_is_passed_over_and_the_error_says_why(
    config: Path, own: Path, tmp_path: Path
) -> None:
    Registry().add(tmp_path / "gone/bin/python")
    Registry().add(own / "bin/python")
    with pytest.raises(NoMatchingEnvironment) as caught:
        ensure_environment(Requirement("torchscript", "99.x", None), EnvironmentPolicy(tmp_path / "c", offline=True))
    lines = str(caught.value).splitlines()
    assert lines[1].startswith(f"  registered: {tmp_path}/gone/bin/python cannot run a model: ")
    assert lines[2] == f"  registered: {own}/bin/python has no torch"


@pytest.mark.workers
def test_a_path_is_registered_and_unregistered_without_dots(
    config: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert main(["env", "register", "../own", "--cache-dir", str(tmp_path / "cache")]) == 0
    assert Registry().interpreters() == [own / "bin/python"]
    assert main(["env", "unregister", "../own"]) == 0
    assert Registry().interpreters() == []


@pytest.mark.workers
def test_an_interpreter_without_numpy_serves_nothing_and_the_error_says_how_to_mend_it(
    config: Path, tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, "-m", "uv", "venv", "-q", "--python", sys.executable, tmp_path / "bare"], check=True
    )
    with pytest.raises(NoMatchingEnvironment) as caught:
        named_environment(tmp_path / "bare", EnvironmentPolicy(tmp_path / "cache"))
    python = tmp_path / "bare/bin/python"
    assert str(caught.value).startswith(f"{python} has no numpy")
    assert str(caught.value).endswith(f"install it there: {python} -m pip install numpy")


@pytest.mark.workers
def test_what_cannot_run_is_not_registered(config: Path, tmp_path: Path) -> None:
    assert main(["env", "register", "/bin/true", "--cache-dir", str(tmp_path)]) == 1
    assert Registry().interpreters() == []


@pytest.mark.frameworks
def test_a_registered_environment_with_an_old_torch_serves_models_for_it(config: Path, tmp_path: Path) -> None:
    python = Path(locked_environment("torch-1.1.0-py36"))
    assert main(["env", "register", str(python), "--cache-dir", str(tmp_path)]) == 0
    found = ensure_environment(Requirement("torchscript", "1.1.x", None), EnvironmentPolicy(tmp_path, build="never"))
    assert found.python == python
