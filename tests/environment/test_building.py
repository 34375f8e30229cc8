"""Building from an index of our own, in real processes: at once, killed, interrupted, failing, forbidden."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .machine import LOCK, Machine, answer, wait_until_it_says

pytestmark = pytest.mark.workers


def uv_children_of(staged: Path) -> list[Path]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(staged) in (process / "cmdline").read_bytes():
                found.append(process)
        except OSError:
            continue
    return found


def test_an_environment_is_built_from_the_users_index_and_one_line_says_so(machine: Machine) -> None:
    found = machine.ask()
    lines = [line for line in str(found["out"]).splitlines() if line.startswith("building environment")]
    assert len(lines) == 1
    assert "requirements.lock on Python" in lines[0]
    assert "tiny==1.0" in str(found["err"]), "plain lines show progress where there is no terminal"
    code = "import numpy, tiny; print(numpy.__version__, tiny.__version__)"
    done = subprocess.run([str(found["python"]), "-I", "-c", code], capture_output=True, text=True)
    assert done.stdout == "1.0 1.0\n"
    assert machine.staged() == []
    assert "building" not in str(machine.ask()["out"]), "the second time it is found"


def test_without_a_log_the_line_is_shown_before_the_progress(machine: Machine) -> None:
    shown = str(machine.ask_without_a_log()["err"]).splitlines()
    building = [number for number, line in enumerate(shown) if line.startswith("building environment ")]
    assert building == [0], shown


def test_two_processes_that_ask_at_once_build_once(machine: Machine) -> None:
    machine.index.gate.clear()
    first = machine.start()
    machine.index.reached.wait()
    second = machine.start()
    wait_until_it_says(second, "waiting for the process that builds")
    machine.index.gate.set()
    one, two = answer(first), answer(second)
    assert one["python"] == two["python"]
    assert "building environment" in str(one["out"])
    assert "building environment" not in str(two["out"])


def test_a_build_killed_in_the_middle_is_swept_by_the_next_use(machine: Machine) -> None:
    machine.index.gate.clear()
    killed = machine.start()
    machine.index.reached.wait()
    (staged,) = machine.staged()
    children = uv_children_of(staged)
    killed.kill()
    killed.wait()
    (machine.cache / "staging" / "older").mkdir()
    next_one = machine.start()
    # uv outlives its parent and holds the lock, so nobody writes beside it into the same folder.
    assert children
    wait_until_it_says(next_one, "waiting for the process that builds")
    assert machine.staged() == [staged], "what nobody holds was swept"
    machine.index.gate.set()
    assert Path(str(answer(next_one)["python"])).exists()
    assert machine.staged() == []
    assert len(machine.built()) == 1


def test_an_interrupted_build_ends_uv_and_leaves_nothing(machine: Machine) -> None:
    machine.index.gate.clear()
    process = machine.start()
    machine.index.reached.wait()
    (staged,) = machine.staged()
    assert uv_children_of(staged)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert uv_children_of(staged) == []
    assert machine.staged() == []
    assert machine.built() == []


def test_a_failed_build_leaves_nothing_and_tells_no_password(machine: Machine) -> None:
    machine.ask(LOCK.replace("1.0", "2.0"))  # so that resolving and the support packages are not what fails
    machine.index.broken = True
    failed = machine.ask()
    assert failed["error"] == "EnvironmentBuildError"
    assert "tiny" in str(failed["message"])
    assert failed["log"]
    assert "wonderland" not in json.dumps(failed)
    assert machine.staged() == []
    assert len(machine.built()) == 1


def test_at_the_command_line_a_failure_is_shown_once(machine: Machine, tmp_path: Path) -> None:
    machine.ask(LOCK.replace("1.0", "2.0"))
    machine.index.broken = True
    (tmp_path / "lock").write_text(LOCK)
    words = ["env", "build", "--platform", "python", "--lock", tmp_path / "lock", "--cache-dir", machine.cache]
    command = [sys.executable, "-m", "neuropod_ope", *words]
    done = subprocess.run(command, env=machine.environ, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("404 Not Found") == 1, done.stderr
    assert done.stderr.splitlines()[-1].endswith("failed (exit code 1): see above")


def test_a_hash_in_the_lock_is_checked(machine: Machine) -> None:
    failed = machine.ask(LOCK.replace("tiny==1.0", f"tiny==1.0 --hash=sha256:{'0' * 64}"))
    assert failed["error"] == "EnvironmentBuildError"
    assert "Hash mismatch" in str(failed["message"])
    assert machine.built() == []


def test_never_names_the_command_and_uses_what_was_built(machine: Machine) -> None:
    refused = machine.ask(build="never")
    assert refused["error"] == "NoMatchingEnvironment"
    assert str(refused["command"]).startswith("neuropod-ope env build --platform python")
    assert str(refused["command"]) in str(refused["message"])
    assert machine.index.downloads == []
    built = machine.ask()
    # A service may have a barer PATH than the shell from which it was built, and no network.
    machine.environ["PATH"] = "/nonexistent"
    machine.index.broken = True
    assert machine.ask(build="never")["python"] == built["python"]


def test_offline_builds_from_what_was_downloaded_before_and_nothing_else(machine: Machine) -> None:
    machine.ask()
    for folder in machine.built():
        folder.rename(machine.cache / "staging" / folder.name)
    downloads = len(machine.index.downloads)
    assert "building" in str(machine.ask(offline=True)["out"])
    assert len(machine.index.downloads) == downloads
    failed = machine.ask(LOCK.replace("tiny==1.0", "unseen==1.0"), offline=True)
    assert failed["error"] == "EnvironmentBuildError"
    assert "network was disabled" in str(failed["message"])
    assert "run `neuropod-ope env build` once with the network" in str(failed["message"])


def test_what_cannot_be_resolved_says_what_was_tried_and_what_to_do(machine: Machine) -> None:
    failed = machine.ask(LOCK.replace("tiny==1.0", "tiny==9.9"))
    assert failed["error"] == "NoMatchingEnvironment"
    assert "there is no version of tiny==9.9" in str(failed["message"])
    assert "What to do" in str(failed["message"])
    machine.index.wheels["tiny-9.9.tar.gz"] = b"not even a source package"
    assert "--allow-source tiny" in str(machine.ask(LOCK.replace("tiny==1.0", "tiny==9.9"))["message"])
