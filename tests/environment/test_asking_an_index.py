"""Every kind of package source is read: JSON, HTML, folders; files that are withdrawn are not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from neuropod_ope.environment import EnvironmentPolicy
from neuropod_ope.environment.errors import EnvironmentBuildError
from neuropod_ope.environment.index import offered_files
from neuropod_ope.environment.offered import IndexFile
from neuropod_ope.environment.uv import Uv

from .local_index import LocalIndex, serving

PAGE = """<!DOCTYPE html><html><body>
<a href="../../files/torch-1.0-py3-none-any.whl#sha256=00" data-requires-python="&gt;=3.6">torch 1.0</a>
<a href="torch-1.1%2Bcpu-py3-none-any.whl">torch 1.1</a>
<a href="torch-1.2-py3-none-any.whl" data-yanked="broken">torch-1.2-py3-none-any.whl</a>
<a href="torch-1.0.tar.gz">torch-1.0.tar.gz</a> <a name="top">no link</a>
</body></html>"""
READ = [IndexFile("torch-1.0-py3-none-any.whl", ">=3.6", ""), IndexFile("torch-1.1+cpu-py3-none-any.whl", "", "")]


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Uv:
    """uv whose user has set nothing."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "no-index").as_uri())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return Uv(EnvironmentPolicy(tmp_path / "cache"))


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalIndex]:
    with serving() as index:
        monkeypatch.setenv("UV_INDEX_URL", f"http://alice:wonderland@127.0.0.1:{index.port}/simple")
        monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
        yield index


def test_an_index_in_a_folder_is_read(uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "simple/torch").mkdir(parents=True)
    (tmp_path / "simple/torch/index.html").write_text(PAGE)
    monkeypatch.setenv("UV_INDEX", f"own={(tmp_path / 'simple').as_uri()}")
    assert offered_files("torch", uv) == READ
    assert offered_files("tensorflow", uv) == []


def test_links_and_folders_of_files_are_read_for_the_name_asked_for(
    uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.html").write_text(PAGE)
    (tmp_path / "folder").mkdir()
    for name in ("torch-2.0-py3-none-any.whl", "torch_extra-2.0-py3-none-any.whl", "torch-2.0.tar.gz"):
        (tmp_path / "folder" / name).touch()
    monkeypatch.setenv("UV_FIND_LINKS", f"{tmp_path / 'page.html'},{tmp_path / 'folder'}")
    assert offered_files("torch", uv) == [*READ, IndexFile("torch-2.0-py3-none-any.whl", "", "")]
    assert [file.name for file in offered_files("torch-extra", uv)] == ["torch_extra-2.0-py3-none-any.whl"]


def test_an_index_that_speaks_json_says_when_and_one_that_does_not_is_read_all_the_same(
    uv: Uv, index: LocalIndex
) -> None:
    name = "tiny-1.0-py3-none-any.whl"
    assert IndexFile(name, "", "") in offered_files("tiny", uv)
    index.uploaded = dict.fromkeys(index.wheels, "2020-01-01T00:00:00Z")
    assert IndexFile(name, "", "2020-01-01T00:00:00Z") in offered_files("tiny", uv)
    assert offered_files("unheard-of", uv) == []


def test_an_index_that_is_not_there_is_an_error_that_tells_no_password(
    uv: Uv, index: LocalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_INDEX_URL", "http://alice:wonderland@127.0.0.1:1/simple")
    with pytest.raises(EnvironmentBuildError, match=r"cannot be asked for versions: .*refused") as caught:
        offered_files("tiny", uv)
    assert "wonderland" not in str(caught.value)


def test_without_a_setting_uvs_own_default_index_is_asked(uv: Uv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    (default,) = uv.indexes()
    assert default.startswith("https://")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert Uv(EnvironmentPolicy(Path("unused"))).indexes() == ()
