import threading
from pathlib import Path

import pytest

from neuropod_ope.environment.store import Store, content_name


def fill(folder: Path, lock_fd: int) -> None:
    (folder / "file").write_text("content")


def test_a_name_follows_from_the_content_alone() -> None:
    assert content_name({"a": 1, "b": [2]}) == content_name({"b": (2,), "a": 1}) != content_name({"a": 1})


def test_a_folder_is_built_once_and_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find("support", "name") is None
    path = store.ensure("support", "name", {}, fill)
    assert (path / "file").read_text() == "content"

    def never(folder: Path, lock_fd: int) -> None:
        raise AssertionError("built twice")

    assert store.ensure("support", "name", {}, never) == path == store.find("support", "name")


def test_a_failed_build_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(folder: Path, lock_fd: int) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.ensure("support", "name", {}, fail)
    assert list((tmp_path / "staging").iterdir()) == []
    assert not (tmp_path / "support").exists()
    assert store.ensure("support", "name", {}, fill).is_dir()


def test_of_two_threads_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()
    builds: list[str] = []

    def slow(folder: Path, lock_fd: int) -> None:
        builds.append(threading.current_thread().name)
        inside.set()
        go_on.wait()

    def ask() -> None:
        Store(tmp_path).ensure("support", "name", {}, slow)

    first, second = threading.Thread(target=ask), threading.Thread(target=ask)
    first.start()
    inside.wait()
    second.start()
    assert Store(tmp_path).sweep() == 0, "a build that goes on is not swept"
    go_on.set()
    first.join()
    second.join()
    assert len(builds) == 1


def test_an_environment_whose_interpreter_is_gone_counts_as_absent_and_is_built_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    interpreter = tmp_path / "python"
    interpreter.touch()

    def link(folder: Path, lock_fd: int) -> None:
        (folder / "bin").mkdir()
        (folder / "bin/python").symlink_to(interpreter)

    path = store.ensure("environments", "name", {}, link)
    interpreter.unlink()
    assert store.find("environments", "name") is None
    interpreter.touch()
    assert store.ensure("environments", "name", {}, link) == path


def test_environments_are_listed_and_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def python(folder: Path, lock_fd: int) -> None:
        (folder / "bin").mkdir()
        (folder / "bin/python").touch()

    store.ensure("environments", "one", {"for": "x"}, python)
    assert [(found.name, found.facts) for found in store.environments()] == [("one", {"for": "x"})]
    assert store.remove("one")
    assert store.environments() == []
    assert list((tmp_path / "staging").iterdir()) == []


def test_facts_are_remembered_and_damaged_ones_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.read("facts", "key") is None
    store.write("facts", "key", {"a": [1]})
    assert store.read("facts", "key") == {"a": [1]}
    (tmp_path / "facts/key.json").write_text("{")
    assert store.read("facts", "key") is None


def test_a_cache_that_cannot_be_written_to_forgets_but_works(tmp_path: Path) -> None:
    (tmp_path / "facts").touch()  # a file where the folder should be: root ignores permissions
    Store(tmp_path).write("facts", "key", 1)
    assert Store(tmp_path).read("facts", "key") is None
