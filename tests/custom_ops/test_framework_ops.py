"""Custom ops of torch and TensorFlow, of the oldest and the newest version: compiled, packaged, loaded, run."""

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from custom_ops.compiling import Compiler
from environments_for_tests import locked_environment, run_with

from neuropod_ope import LoadError, Runtime, WorkerDied

pytestmark = pytest.mark.frameworks

X = np.float32([1, 2, 3])
# The locks that this runs under, and which one's ops cannot be loaded there.
OTHER = {
    "torch-1.1.0-py36": "torch-2.13.0-py311",
    "torch-2.13.0-py311": "torch-1.1.0-py36",
    "tf-1.12.0-py36": "tf-2.21.0-py313",
    "tf-2.21.0-py313": "tf-1.12.0-py36",
}


class Built:
    """A framework's ops, compiled and packaged once for all tests that ask."""

    def __init__(self, name, root, compiler):
        self.python = locked_environment(name)
        kind = name.partition("-")[0]
        compile_op = {"torch": compiler.torch_op, "tf": compiler.tensorflow_op}[kind]
        self.op = compile_op(self.python)
        ops = [self.op, compiler.second_op(self.op)]
        root.mkdir()
        exporter = Path(__file__).with_name({"torch": "export_torch.py", "tf": "export_tensorflow.py"}[kind])
        run_with(self.python, exporter, root, *ops)
        self.twice, self.crash = root / "twice", root / "crash"


@pytest.fixture(scope="module")
def built_for(tmp_path_factory):
    root = tmp_path_factory.mktemp("ops")
    compiler = Compiler(root)
    done = {}

    def built(name):
        if name not in done:
            done[name] = Built(name, root / name, compiler)
        return done[name]

    return built


@pytest.fixture(params=sorted(OTHER))
def built(request, built_for):
    return built_for(request.param)


@pytest.fixture
def other(request, built, built_for):
    return built_for(OTHER[request.node.callspec.params["built"]])


@pytest.fixture
def runtime():
    with Runtime() as runtime:
        yield runtime


def editable(package, folder):
    """A copy of a package, without the manifest that forbids changing it."""
    shutil.copytree(package, folder)
    (folder / "manifest.json").unlink()
    return folder


def test_ops_are_loaded_in_their_order_before_the_model(built, runtime, tmp_path):
    with runtime.load(built.twice, environment=built.python) as model:
        assert model.infer({"x": X})["y"].tolist() == [2, 4, 6]
    wrong = editable(built.twice, tmp_path / "wrong")
    text = (wrong / "config.json").read_text().replace('"libfirst', '"lib1').replace('"libsecond', '"libfirst')
    (wrong / "config.json").write_text(text.replace('"lib1', '"libsecond'))
    with pytest.raises(LoadError, match=r"(?s)libsecond_op\.so, .* library that custom_ops should name before it"):
        runtime.load(wrong, environment=built.python)
    with pytest.raises(LoadError, match=r"(?i)ope_?tests"):
        runtime.load(built.twice, environment=built.python, load_custom_ops=False)


def test_packages_that_bring_the_same_ops_share_a_worker(built, runtime, tmp_path):
    copy = shutil.copytree(built.twice, tmp_path / "copy")
    with runtime.worker(built.python) as worker:
        models = [worker.load(built.twice), worker.load(copy), worker.load(built.twice)]
        assert [model.infer({"x": X})["y"].tolist() for model in models] == [[2, 4, 6]] * 3


def test_an_op_that_crashes_ends_its_worker_only(built, runtime):
    with (
        runtime.load(built.twice, environment=built.python) as healthy,
        runtime.load(built.crash, environment=built.python) as crashing,
    ):
        pids = [healthy.workers[0].pid, crashing.workers[0].pid]
        with pytest.raises(WorkerDied) as caught:
            crashing.infer({"x": X})
        assert caught.value.signal == signal.SIGSEGV
        assert healthy.infer({"x": X})["y"].tolist() == [2, 4, 6]
        assert healthy.workers[0].pid == pids[0]
        crashing.load()
        assert crashing.workers[0].pid not in pids, "a fresh worker"


def test_an_op_that_was_built_for_another_version_is_an_error_that_says_so(built, other, runtime, tmp_path):
    package = editable(built.twice, tmp_path / "foreign")
    shutil.copy(other.op, package / "0" / "ops" / "libfirst_op.so")
    with pytest.raises(LoadError, match=r"libfirst_op\.so, which was built for another (torch|TensorFlow)") as caught:
        runtime.load(package, environment=built.python)
    assert "undefined symbol" in str(caught.value) or "cannot open shared object file" in str(caught.value)
