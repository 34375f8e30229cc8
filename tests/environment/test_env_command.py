import json
import subprocess
import sys
from pathlib import Path

import pytest

from neuropod_ope.cli import main
from neuropod_ope.environment.store import Store

FACTS = {
    "for": "torchscript 1.1.x",
    "label": "torch==1.1.0 on Python 3.7.16",
    "interpreter": {"path": "/usr/bin/python3.7", "version": "3.7.16"},
    "pins": ["numpy==1.21.6", "torch==1.1.0"],
}


def env(*words: str) -> int:
    return main(["env", *words])


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    def fill(folder: Path, lock_fd: int) -> None:
        (folder / "bin").mkdir()
        (folder / "bin/python").symlink_to(sys.executable)

    Store(tmp_path).ensure("environments", "abcdef", FACTS, fill)
    return tmp_path


def test_list_shows_what_is_there(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert env("list", "--cache-dir", str(cache)) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "MADE", "OF", "PACKAGES", "SIZE", "LAST", "USED", "FIRST", "FOR"]
    assert row.split()[:2] == ["abcdef", "torch==1.1.0"]
    assert row.index("torch==1.1.0") == head.index("MADE OF")
    assert row[head.index("FIRST FOR") :] == FACTS["for"]


def test_show_finds_by_the_beginning_of_the_name(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert env("show", "abc", "--cache-dir", str(cache)) == 0
    assert "             torch==1.1.0" in capsys.readouterr().out
    assert env("show", "zzz", "--cache-dir", str(cache)) == 1
    assert "no environment" in capsys.readouterr().err


def test_prune_keeps_what_was_used_lately_and_what_is_running(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert env("prune", "--cache-dir", str(cache)) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    command = [cache / "environments/abcdef/bin/python", "-c", "print('up', flush=True); input()"]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"  # its command line can be read from now on
    assert env("prune", "--all", "--cache-dir", str(cache)) == 0
    assert "kept, it is in use: abcdef" in capsys.readouterr().out
    running.communicate(b"\n")
    assert env("prune", "--all", "--cache-dir", str(cache)) == 0
    assert "removed abcdef" in capsys.readouterr().out
    assert Store(cache).environments() == []


def test_prune_sweeps_abandoned_builds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "staging/left").mkdir(parents=True)
    assert env("prune", "--cache-dir", str(tmp_path)) == 0
    assert capsys.readouterr().out == "removed 1 abandoned build(s)\n"


def test_build_says_when_this_interpreter_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert env("build", "--platform", "python", "--cache-dir", str(tmp_path)) == 0
    assert "nothing was built" in capsys.readouterr().out


def test_build_reads_a_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = tmp_path / "package"
    package.mkdir()
    config = {"name": "m", "platform": "python", "input_spec": [], "output_spec": []}
    (package / "config.json").write_text(json.dumps({**config, "platform_version_semver": ">=3.10"}))
    assert env("build", str(package), "--cache-dir", str(tmp_path)) == 0
    assert "nothing was built" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["build"], "name a package"),
        (["build", "/nonexistent"], "/nonexistent"),
        (["build", "--platform", "torchscript", "--range", ">=1,<2"], "write '>=1 <2'"),
        (["build", "--platform", "caffe"], "platform 'caffe' is unknown"),
    ],
)
def test_what_cannot_be_built_is_one_clean_message(
    words: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert env(*words, "--cache-dir", str(tmp_path)) == 1
    err = capsys.readouterr().err
    assert err.startswith("neuropod-ope: ")
    assert complaint in err
