"""Custom ops of Python models: real extension modules, compiled for several Pythons."""

import importlib.machinery
import shutil
import signal
import sys

import numpy as np
import pytest
from custom_ops.compiling import Compiler
from environments_for_tests import environment
from sample_packages import python_neuropod

from neuropod_ope import LoadError, Runtime, WorkerDied

pytestmark = pytest.mark.workers

X = np.float32([1, 2, 3])
MODEL = """
import python_op
def load(data_dir):
    def run(x):
        if not len(x):
            python_op.crash()
        return {"y": python_op.twice(x), "loads": python_op.loads()}
    return run
"""
OUTPUTS = [{"name": "y", "dtype": "float32", "shape": (None,)}, {"name": "loads", "dtype": "int64", "shape": ()}]


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    return Compiler(tmp_path_factory.mktemp("ops"))


@pytest.fixture
def runtime(tmp_path):
    with Runtime(cache_dir=tmp_path / "cache") as runtime:
        yield runtime


def package(folder, *ops):
    folder.mkdir()
    return python_neuropod(folder, {"main.py": MODEL}, custom_ops=list(map(str, ops)), output_spec=OUTPUTS)


def pythons():
    return {"3.6": environment("plain-3.6", "3.6", ["numpy==1.16.6"]), "this": sys.executable}


@pytest.mark.parametrize("version", ["3.6", "this"])
def test_an_extension_runs_in_a_worker_of_the_python_that_it_was_built_for(tmp_path, compiler, runtime, version):
    python = pythons()[version]
    with runtime.load(package(tmp_path / "p", compiler.python_op(python)), environment=python) as model:
        assert model.infer({"x": X})["y"].tolist() == [2, 4, 6]


def test_an_extension_is_loaded_once_into_a_process_whatever_the_number_of_packages_that_bring_it(
    tmp_path, compiler, runtime
):
    op = compiler.python_op(sys.executable)
    paths = [package(tmp_path / str(number), op) for number in range(3)]
    with runtime.worker(sys.executable) as worker:
        models = [worker.load(path) for path in paths]
        answers = [model.infer({"x": X}) for model in models]
        shutil.rmtree(paths[0])
        answers.append(worker.load(package(tmp_path / "later", op)).infer({"x": X}))
    assert [answer["y"].tolist() for answer in answers] == [[2, 4, 6]] * 4
    # The last is loaded from its own file, the first one's being gone.
    assert [int(answer["loads"]) for answer in answers] == [1, 1, 1, 2]


def test_an_extension_that_crashes_ends_its_worker_only(tmp_path, compiler, runtime):
    path = package(tmp_path / "p", compiler.python_op(sys.executable))
    with runtime.load(path, out_of_process=True) as healthy, runtime.load(path, out_of_process=True) as crashing:
        pid = healthy.workers[0].pid
        with pytest.raises(WorkerDied) as caught:
            crashing.infer({"x": X[:0]})
        assert caught.value.signal == signal.SIGSEGV
        assert crashing.infer({"x": X})["y"].tolist() == [2, 4, 6], "in a fresh worker"
        assert healthy.infer({"x": X})["y"].tolist() == [2, 4, 6]
        assert healthy.workers[0].pid == pid


@pytest.mark.parametrize("out_of_process", [True, False])
def test_an_extension_built_for_another_python_is_an_error_that_names_both(
    tmp_path, compiler, runtime, out_of_process
):
    path = package(tmp_path / "p", compiler.python_op(pythons()["3.6"]))
    here = importlib.machinery.EXTENSION_SUFFIXES[0].split(".")[1]
    with pytest.raises(LoadError, match=f"was built for cpython-36m-.*, and this is {here} .*for this Python"):
        runtime.load(path, out_of_process=out_of_process)


@pytest.mark.parametrize("out_of_process", [True, False])
@pytest.mark.parametrize("when", ["import python_op\n\ndef load(d): pass", "def load(d):\n    import python_op"])
def test_an_extension_built_for_another_version_of_a_library_is_an_error_that_says_so(
    tmp_path, compiler, runtime, out_of_process, when
):
    op = compiler.python_op(sys.executable, "-DFOR_ANOTHER_VERSION")
    path = python_neuropod(tmp_path, {"main.py": when}, custom_ops=[str(op)])
    with pytest.raises(LoadError, match=r"custom op .*python_op\..* built for other versions .*undefined symbol"):
        runtime.load(path, out_of_process=out_of_process)


def test_an_extension_built_for_another_machine_is_an_error_that_names_both(tmp_path, compiler, runtime):
    content = bytearray(compiler.python_op(sys.executable).read_bytes())
    content[18:20] = (4711).to_bytes(2, "little")  # the machine's number in the ELF header
    foreign = tmp_path / "python_op.so"
    foreign.write_bytes(content)
    with pytest.raises(LoadError, match=r"built for Linux machine 4711, and this is Linux .*for this platform"):
        runtime.load(package(tmp_path / "p", foreign), out_of_process=True)


def test_a_library_that_is_no_module_may_lie_beside_an_extension(tmp_path, compiler, runtime):
    helper = tmp_path / "libhelper.1.so"
    shutil.copy(compiler.python_op(sys.executable), helper)
    path = package(tmp_path / "p", compiler.python_op(sys.executable), helper)
    with runtime.load(path, out_of_process=True) as model:
        assert model.infer({"x": X})["y"].tolist() == [2, 4, 6]
