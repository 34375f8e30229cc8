"""Crash capsules: what is written about a call that killed its worker, and that it can be made again."""

import logging
import os
import pickle
import stat
import sys
import zipfile

import numpy as np
import pytest

from neuropod_ope import Capsule, InferTimeout, PackageError, WorkerDied, read_capsule, replay_capsule
from neuropod_ope.cli import main

pytestmark = pytest.mark.workers

IN = {"x": ("float64", None), "order": ("string", ()), "a/../b": ("int8", None)}
OUT = {"y": ("float64", None), "z": ("float64", None)}
CODE = """
import ctypes, os, sys
def spin_for_ever():
    while True: pass
def load(d):
    def run(x, order="", **others):
        x += 100  # in place: what is stored is what was given
        if order == "crash":
            sys.stderr.write("the last words\\n")
            ctypes.string_at(0)
        if order == "hang": spin_for_ever()
        if order == "crash unless fixed" and not os.path.exists({fixed!r}): os._exit(7)
        return {{"y": x, "z": x}}
    return run
"""


@pytest.fixture
def load(load_in_workers, tmp_path):
    code = CODE.format(fixed=str(tmp_path / "fixed"))
    return lambda **options: load_in_workers(code, IN, OUT, **{"capsule": tmp_path / "capsules", **options})


@pytest.fixture
def runtime(load_in_workers):
    return load_in_workers.runtime


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "capsules"


def dies(model, order="crash", **options):
    x = np.array([1.0, 2.0])
    with pytest.raises((WorkerDied, InferTimeout)) as caught:
        model.infer({"x": x, "order": order, "a/../b": np.int8([5])}, ["z"], **options)
    return caught.value


def test_a_call_that_kills_its_worker_leaves_everything_that_is_needed_to_make_it_again(load, folder):
    model = load(validate=True)
    error = dies(model)
    (path,) = folder.iterdir()
    assert error.capsule == str(path)
    assert str(path) in str(error)
    assert pickle.loads(pickle.dumps(error)).capsule == str(path)
    capsule = read_capsule(path)
    assert capsule.inputs["x"].tolist() == [1.0, 2.0]
    assert capsule.inputs["order"] == "crash"
    assert capsule.inputs["a/../b"].tolist() == [5]
    assert capsule.inputs["a/../b"].dtype == np.int8
    assert (capsule.model, capsule.requested, capsule.left_out) == ("sample", ["z"], [])
    assert capsule.error_type == "WorkerDied"
    assert "SIGSEGV" in capsule.error
    assert "in run" in capsule.stacks
    assert "the last words" in capsule.stderr
    assert f"numpy=={np.__version__}" in capsule.environment_lock
    assert capsule.when.endswith("+00:00")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_call_that_is_too_late_leaves_one_with_its_stacks(load, folder):
    error = dies(load(), "hang", timeout=0.3)
    assert isinstance(error, InferTimeout)
    capsule = read_capsule(error.capsule)
    assert "in spin_for_ever" in capsule.stacks
    assert capsule.error_type == "InferTimeout"


@pytest.mark.parametrize("size", [2, 100_000])
def test_submitted_calls_leave_their_inputs_as_they_were_given(load, size):
    model = load()
    x = np.full(size, 7.0)
    future = model.submit({"x": x, "order": "crash"})
    x[:] = -1
    assert (read_capsule(future.exception().capsule).inputs["x"] == 7.0).all()
    with pytest.raises(WorkerDied) as caught:
        list(model.infer_many([{"x": np.full(size, 8.0), "order": "crash"}]))
    assert (read_capsule(caught.value.capsule).inputs["x"] == 8.0).all()


def test_without_it_nothing_is_written(load, folder):
    assert dies(load(capsule=None)).capsule is None
    assert not folder.exists()


def test_calls_that_the_worker_had_not_begun_or_that_are_cancelled_leave_none(load, folder):
    model = load(cancel="kill")
    running = model.submit({"x": [1.0], "order": "hang"})
    queued = model.submit({"x": [2.0]})
    while not model.health().progress[0].request:
        pass
    with pytest.raises(InferTimeout):
        model.infer({"x": [1.0]}, timeout=0.01)
    assert running.cancel()
    assert queued.result()["y"] == [102.0]
    assert not folder.exists()


def test_a_redaction_hook_decides_what_is_stored(load):
    def redact(name, array):
        if name == "order":
            return None
        array[:] = 0  # it may, of its copy
        return array if name == "x" else array.astype(np.int64)

    capsule = read_capsule(dies(load(redact=redact)).capsule)
    assert capsule.left_out == ["order"]
    assert capsule.inputs["x"].tolist() == [0.0, 0.0]
    assert capsule.inputs["a/../b"].dtype == np.int64


@pytest.mark.parametrize(
    "wrong", [lambda name, array: 1 / 0, lambda name, array: sys.exit(1), lambda name, array: np.array([object()])]
)
def test_a_hook_that_fails_keeps_the_inputs_out_of_any_file_and_the_error_is_told(load, folder, wrong, caplog):
    model = load(redact=wrong)
    assert dies(model).capsule is None
    assert isinstance(model.submit({"x": [1.0], "order": "crash"}).exception(), WorkerDied)
    assert list(folder.iterdir()) == []
    assert "no crash capsule was written" in caplog.text


def test_a_model_may_have_any_name(load_in_workers, folder):
    path = load_in_workers.package(CODE.format(fixed=""), IN, OUT, model_name="é" * 300)
    assert os.path.exists(dies(load_in_workers.load(path, capsule=folder)).capsule)


def test_a_folder_that_cannot_be_written_to_does_not_hide_the_error(load, tmp_path, caplog):
    (tmp_path / "file").touch()
    assert "SIGSEGV" in str(dies(load(capsule=tmp_path / "file")))
    assert "no crash capsule was written" in caplog.text


def test_a_crash_loop_does_not_fill_the_disk(load, folder, caplog):
    model = load()
    for _ in range(18):
        model.infer({"x": [1.0]})
        last = dies(model)
    assert len(list(folder.iterdir())) == 16
    assert last.capsule is None
    assert "leaves no more" in caplog.text


def test_a_replay_does_again_what_happened(load, runtime, caplog):
    caplog.set_level(logging.ERROR)
    path = dies(load()).capsule
    with pytest.raises(WorkerDied, match="SIGSEGV"):
        replay_capsule(path, runtime=runtime)
    late = dies(load(), "hang", timeout=0.3).capsule
    with pytest.raises(InferTimeout):
        replay_capsule(late, runtime=runtime, timeout=0.3)


def test_a_replay_of_a_model_that_was_repaired_gives_its_outputs(load, runtime, tmp_path):
    model = load()
    path = dies(model, "crash unless fixed").capsule
    with pytest.raises(WorkerDied, match="exited with status 7"):
        replay_capsule(path, runtime=runtime)
    (tmp_path / "fixed").touch()
    assert replay_capsule(path, runtime=runtime)["z"].tolist() == [101.0, 102.0]
    moved = tmp_path / "moved"
    (tmp_path / "model1" / "packaged").rename(moved)
    with pytest.raises(PackageError):
        replay_capsule(path, runtime=runtime)
    assert replay_capsule(path, moved, runtime=runtime)["z"].tolist() == [101.0, 102.0]


def test_the_command_line_tells_what_is_in_it_and_replays_it(load, tmp_path, capsys):
    path = dies(load(redact=lambda name, array: None if name == "a/../b" else array), "crash unless fixed").capsule
    cache = ["--cache-dir", str(tmp_path / "cache")]
    assert main(["replay", path, "--show", *cache]) == 0
    shown = capsys.readouterr().out
    assert "exited with status 7" in shown
    assert "input x: float64 (2,)" in shown
    assert "input a/../b: left out by the redaction hook" in shown
    assert main(["replay", path, *cache]) == 1
    assert "exited with status 7" in capsys.readouterr().err
    (tmp_path / "fixed").touch()
    assert main(["replay", path, *cache]) == 0
    assert "ended well" in capsys.readouterr().out


def test_what_is_no_capsule_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"something else")
    for _ in range(2):
        with pytest.raises(PackageError, match="is no crash capsule"):
            read_capsule(path)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("capsule.json", '{"version": 2}')
    with pytest.raises(PackageError, match="is no crash capsule"):
        read_capsule(tmp_path / "absent")


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was loaded')",))


def test_a_pickle_in_a_capsule_is_not_loaded(load, tmp_path):
    path = dies(load()).capsule
    evil = tmp_path / "evil"
    with zipfile.ZipFile(path) as good, zipfile.ZipFile(evil, "w") as bad:
        for name in good.namelist():
            data = good.read(name)
            if name == "inputs/0.npy":
                with bad.open(name, "w") as member:
                    np.lib.format.write_array(member, np.array([Evil()], dtype=object), allow_pickle=True)
            else:
                bad.writestr(name, data)
    with pytest.raises(PackageError, match="is no crash capsule"):
        read_capsule(evil)


def test_every_dtype_and_shape_survives(tmp_path):
    arrays = {
        "text": np.array([["straße", "日本語"]]),
        "none": np.zeros((0, 3), np.float16),
        "scalar": np.array(True),
        "complex": np.array([1 + 2j], np.complex64),
        "": np.arange(6, dtype=">u2").reshape(2, 3).T,
    }
    capsule = Capsule("m", "p", "w", "E", "e\ud800", None, [], {}, "python", arrays, "lock", "stacks", "stderr")
    capsule.write(tmp_path / "file")
    again = read_capsule(tmp_path / "file")
    assert list(again.inputs) == list(arrays)
    for name, array in arrays.items():
        assert again.inputs[name].dtype == array.dtype
        assert (again.inputs[name] == array).all()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
