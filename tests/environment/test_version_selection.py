"""Versions that the catalog does not list, from an index of our own that says when its files were uploaded."""

import subprocess

import pytest

from .machine import Machine

pytestmark = pytest.mark.workers


@pytest.fixture
def offering(machine: Machine) -> Machine:
    """An old framework, a nightly, and a numpy from before and one from long after."""
    for name, version, day in (
        ("torch", "1.3.0", "2019-10-10"),
        ("torch", "1.3.1", "2019-11-07"),
        ("torch", "2.98.0.dev20260101", "2026-01-01"),
        ("torch", "2.98.0.dev20260102", "2026-01-02"),
        ("numpy", "1.0", "2019-01-01"),
        ("numpy", "1.1", "2019-12-31"),
        ("numpy", "2.0", "2025-01-01"),
        ("msgpack", "1.0.5", "2019-01-01"),
        ("tiny", "1.0", "2019-01-01"),
        ("tiny", "2.0", "2019-01-01"),
    ):
        machine.index.offer(name, version, day)
    return machine


def versions(answer: dict[str, object]) -> list[str]:
    assert "error" not in answer, answer["message"]
    code = "import torch, numpy; print(torch.__version__, numpy.__version__)"
    done = subprocess.run([str(answer["python"]), "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_version_outside_the_catalog_gets_the_packages_of_its_time(offering: Machine) -> None:
    answer = offering.ask_for("torchscript", "1.3.x")
    assert versions(answer) == ["1.3.1", "1.1"]
    assert "torch==1.3.1 on Python" in str(answer["out"])
    assert "packages as of 2020-01-02" in str(answer["out"])


def test_an_index_without_upload_times_is_said_to_be_one_and_used_without_a_cut(offering: Machine) -> None:
    offering.index.uploaded.clear()
    answer = offering.ask_for("torchscript", "1.3.x")
    assert versions(answer) == ["1.3.1", "2.0"]
    assert "the index does not say when it was released" in str(answer["out"])


def test_files_without_a_time_do_not_fill_what_an_error_shows(offering: Machine) -> None:
    for file in [file for file in offering.index.uploaded if file.startswith("numpy")]:
        del offering.index.uploaded[file]
    failed = offering.ask_for("torchscript", "1.3.x")
    assert "No solution found" in str(failed["message"])
    assert "missing an upload date" not in str(failed["message"])


def test_a_pre_release_is_taken_when_the_package_names_one_in_its_range(offering: Machine) -> None:
    assert versions(offering.ask_for("torchscript", ">=2.98.0-dev"))[0] == "2.98.0.dev20260102"
    offering.index.offer("torch", "2.98.0", "2026-02-01")
    assert versions(offering.ask_for("torchscript", ">=2.98.0-dev", refresh=True))[0] == "2.98.0"


def test_a_pre_release_is_taken_when_the_user_allows_it_and_else_the_error_says_how(offering: Machine) -> None:
    refused = offering.ask_for("torchscript", "2.98.x")
    assert refused["error"] == "NoMatchingEnvironment"
    assert "prerelease=['torchscript']" in str(refused["message"])
    assert str(refused["command"]).endswith(" --prerelease")
    assert versions(offering.ask_for("torchscript", "2.98.x", prerelease=["torchscript"]))[0] == "2.98.0.dev20260102"


def test_packages_that_ask_in_different_words_for_the_same_pins_share_an_environment(offering: Machine) -> None:
    ranges = ("1.3.x", "~1.3.0", ">=1.3 <1.4", "1.3.1")
    assert len({str(offering.ask_for("torchscript", one)["python"]) for one in ranges}) == 1
    assert len(offering.built()) == 1


def test_a_version_that_came_later_changes_nothing_until_it_is_asked_for(offering: Machine) -> None:
    before = offering.ask_for("torchscript", "1.3.x")
    offering.index.offer("torch", "1.3.2", "2019-12-01")
    questions = offering.index.asked["torch"]
    assert offering.ask_for("torchscript", "1.3.x", build="never")["python"] == before["python"]
    assert offering.ask_for("torchscript", "1.3.x")["python"] == before["python"]
    assert offering.index.asked["torch"] == questions
    assert versions(offering.ask_for("torchscript", "1.3.x", refresh=True))[0] == "1.3.2"


def test_a_listing_that_has_nothing_in_range_is_asked_for_again(offering: Machine) -> None:
    offering.ask_for("torchscript", "1.3.x")
    offering.index.offer("torch", "1.9.0", "2021-06-15")
    assert versions(offering.ask_for("torchscript", "1.9.x"))[0] == "1.9.0"


def test_never_does_not_ask_the_index_and_offline_neither(offering: Machine) -> None:
    refused = offering.ask_for("torchscript", "1.3.x", build="never")
    assert "env build --platform torchscript --range 1.3.x" in str(refused["command"])
    assert "error" in offering.ask_for("torchscript", "1.3.x", offline=True)
    assert offering.index.asked == {}


def test_the_error_lists_what_was_asked_what_is_here_what_is_offered_and_what_to_do(offering: Machine) -> None:
    message = str(offering.ask_for("torchscript", "9.x")["message"])
    head, *lines = message.splitlines()
    assert head == "no environment fits torchscript 9.x; this interpreter has no torch"
    assert lines[0].startswith("  Pythons on this machine: ")
    assert lines[1].startswith("  versions that are known to work: 2.13.0, ")
    assert lines[2] == "  versions that the index offers: 1.3.1, 1.3.0, 2.98.0.dev20260102, 2.98.0.dev20260101"
    assert lines[3].startswith("What to do: change the range, or name an existing interpreter")
