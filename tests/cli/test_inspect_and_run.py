import json
import os
import pickle
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sample_packages import DOUBLING, FLOATS_IN, python_neuropod

import neuropod_ope
from neuropod_ope.cli import main

X = np.float32([1, 2, 3])
FAILING = "def load(data_dir):\n    def model(x):\n        raise KeyError('no such thing')\n    return model\n"


@pytest.fixture
def command(tmp_path, capsys):
    """Run one command with a cache of its own; give its exit status, stdout and stderr."""

    def run(name, *arguments):
        status = main([name, *map(str, arguments), "--cache-dir", str(tmp_path / "cache")])
        return (status, *capsys.readouterr())

    return run


def doubling(tmp_path, **parameters):
    return python_neuropod(tmp_path, {"main.py": DOUBLING}, **parameters)


def edited(path, **changes):
    """The package with another config, as no packager of ours would write it."""
    config = Path(path, "config.json")
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    Path(path, "manifest.json").unlink()
    return path


def test_inspect_shows_what_a_package_declares(tmp_path, command):
    specs = [
        {"name": "x", "dtype": "float32", "shape": ("batch", None, 3)},
        {"name": "anything", "dtype": "string", "shape": None},
    ]
    path = doubling(tmp_path, input_spec=specs, platform_version_semver=">=3.8")
    status, shown, _ = command("inspect", path)
    assert status == 0
    assert "Python >=3.8" in shown
    assert "x: float32 (batch, *, 3)" in shown
    assert "anything: string, any shape" in shown
    assert "y: float32 (*,)" in shown
    assert "in process      yes, as far as it says: the package declares no requirements" in shown
    assert f"yes, with {sys.executable}" in shown


def test_inspect_says_which_command_builds_the_environment_that_is_missing(tmp_path, command):
    path = doubling(tmp_path, requirements="surely-not-installed==1.0")
    status, shown, _ = command("inspect", path)
    assert status == 0
    assert "surely-not-installed==1.0" in shown
    assert "this interpreter has no surely-not-installed" in shown
    assert f"has not been resolved; run: neuropod-ope env build {path}" in shown
    assert "never" not in shown
    assert not (tmp_path / "cache" / "environments").exists()


def test_inspect_says_that_a_platform_is_supported_nowhere(tmp_path, command):
    path = edited(doubling(tmp_path), platform="caffe")
    status, shown, _ = command("inspect", path)
    assert status == 0
    assert "in process      no: platform 'caffe' is not supported; supported are python, tensorflow" in shown
    assert "out of process  no: platform 'caffe' is not supported" in shown
    with_env = main(["env", "build", path, "--cache-dir", str(tmp_path / "cache")])
    assert with_env == 1, "no environment is built that nobody could use"


def test_inspect_shows_a_version_range_that_nobody_can_read(tmp_path, command):
    path = edited(doubling(tmp_path), platform_version_semver=">=3.6,<4")
    status, shown, _ = command("inspect", path)
    assert status == 0
    assert "write '>=3.6 <4'" in shown


@pytest.mark.parametrize(
    ("test_data", "shown"),
    [
        ({}, "none"),
        ({"test_input_data": {"x": X}}, "inputs"),
        ({"test_input_data": {"x": X}, "test_expected_out": {"y": X * 2}}, "inputs and expected outputs"),
    ],
)
def test_inspect_tells_whether_there_is_test_data(tmp_path, command, test_data, shown):
    _, output, _ = command("inspect", doubling(tmp_path, **test_data))
    (line,) = [line for line in output.splitlines() if line.startswith("test data")]
    assert line.split(maxsplit=2)[2] == shown


def test_inspect_never_reads_a_pickle(tmp_path, command):
    path = doubling(tmp_path)
    with open(os.path.join(path, "test_data.pkl"), "w") as file:
        file.write("no pickle at all")
    status, shown, _ = command("inspect", path)
    assert status == 0
    assert "test_data.pkl, a pickle: not read" in shown


def test_run_takes_the_test_data_and_agrees_with_what_is_expected(tmp_path, command):
    path = doubling(tmp_path, test_input_data={"x": X}, test_expected_out={"y": X * 2})
    status, shown, _ = command("run", path, "--in-process")
    assert status == 0
    assert "y: float32 (3,)\n    [2. 4. 6.]" in shown
    assert "as the package expects" in shown


def test_run_takes_the_pickle_of_an_old_package_only_when_told_to(tmp_path, command):
    path = doubling(tmp_path)
    content = {"test_input": {"x": X}, "test_output": {"y": X * 2}}
    Path(path, "test_data.pkl").write_bytes(pickle.dumps(content, protocol=2))
    status, _, said = command("run", path, "--in-process")
    assert status == 1
    assert "no test data to run on; give --allow-pickle to take test_data.pkl, which runs code of whoever" in said
    status, shown, _ = command("run", path, "--in-process", "--allow-pickle")
    assert status == 0
    assert "as the package expects" in shown


def test_run_takes_inputs_from_a_file_and_writes_the_outputs_to_one(tmp_path, command):
    np.savez(tmp_path / "x.npz", x=X)
    status, _, _ = command("run", doubling(tmp_path), "--inputs", tmp_path / "x.npz", "--outputs", tmp_path / "y.npz")
    assert status == 0
    with np.load(tmp_path / "y.npz") as written:
        np.testing.assert_array_equal(written["y"], X * 2)


def test_outputs_that_are_not_the_expected_ones_are_shown_and_end_with_status_1(tmp_path, command, monkeypatch):
    code = "import os\ndef load(data_dir):\n    return lambda x: {'y': x * float(os.environ['FACTOR'])}\n"
    expectations = {"test_input_data": {"x": X}, "test_expected_out": {"y": X * 2}}
    monkeypatch.setenv("FACTOR", "2")
    path = python_neuropod(tmp_path, {"main.py": code}, **expectations)
    monkeypatch.setenv("FACTOR", "3")
    status, shown, _ = command("run", path, "--in-process")
    assert status == 1
    assert "NOT AS EXPECTED: 'y' is\n[3. 6. 9.]\nexpected\n[2. 4. 6.]" in shown


def test_run_without_any_inputs_says_how_to_give_them(tmp_path, command):
    status, _, said = command("run", doubling(tmp_path), "--in-process")
    assert status == 1
    assert "has no test data to run on; give inputs: --inputs" in said


@pytest.mark.parametrize("name", ["inspect", "run"])
def test_an_error_of_the_library_is_one_message_and_status_1(tmp_path, command, name):
    status, shown, said = command(name, tmp_path / "nowhere")
    assert (status, shown) == (1, "")
    assert said == f"neuropod-ope: there is no package at {tmp_path / 'nowhere'}\n"


def test_a_way_to_run_that_contradicts_another_is_refused(tmp_path, command):
    with pytest.raises(SystemExit) as error:
        command("run", tmp_path, "--in-process", "--out-of-process")
    assert error.value.code == 2


@pytest.mark.parametrize(("option", "value"), [("--python", sys.executable), ("--timeout", "60")])
def test_options_of_a_worker_do_not_go_with_in_process(tmp_path, capsys, option, value):
    with pytest.raises(SystemExit) as error:
        main(["run", str(tmp_path), "--in-process", option, value])
    assert error.value.code == 2
    assert f"{option} needs a worker: leave --in-process out" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "replay"])
@pytest.mark.parametrize("value", ["0", "-1", "nan"])
def test_a_timeout_is_above_0(tmp_path, capsys, command, value):
    with pytest.raises(SystemExit) as error:
        main([command, str(tmp_path), f"--timeout={value}"])
    assert error.value.code == 2
    assert f"argument --timeout: {value} is not above 0" in capsys.readouterr().err


@pytest.mark.workers
def test_run_shows_the_worker(tmp_path, command):
    path = doubling(tmp_path, test_input_data={"x": X})
    status, shown, _ = command("run", path, "--python", sys.executable, "--timeout", "60")
    assert status == 0
    assert "[2. 4. 6.]" in shown
    assert "ran in worker " in shown
    assert f"Python {platform.python_version()}" in shown


@pytest.mark.workers
def test_the_exception_of_a_model_comes_with_its_traceback(tmp_path, command):
    path = python_neuropod(tmp_path, {"main.py": FAILING}, input_spec=FLOATS_IN)
    np.savez(tmp_path / "x.npz", x=X)
    status, _, said = command("run", path, "--inputs", tmp_path / "x.npz", "--out-of-process")
    assert status == 1
    assert "KeyError" in said
    assert "model/main.py" in said


def test_the_command_line_is_a_module_too():
    run = subprocess.run(
        [sys.executable, "-m", "neuropod_ope", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"neuropod-ope {neuropod_ope.__version__}\n"
