"""Real interpreters and frameworks in one application: the main job."""

import json
import subprocess
import sys

import numpy as np
import pytest
from environments_for_tests import WORKERS, environment, fixture_neuropod, locked_environment, run_with
from sample_packages import python_neuropod

import neuropod_ope
from neuropod_ope import LoadError, NoMatchingEnvironment, Runtime
from neuropod_ope.environment import default_cache_dir

TELLS = """
import sys
import numpy as np
def load(data_dir):
    version = np.array(["%d.%d" % sys.version_info[:2], np.__version__])
    return lambda x, s: {"x": x * 2, "s": s, "version": version, "path": np.array(sys.path)}
"""
INPUTS = [{"name": "x", "dtype": "float32", "shape": None}, {"name": "s", "dtype": "string", "shape": None}]
OUTPUTS = [*INPUTS, *({"name": name, "dtype": "string", "shape": (None,)} for name in ("version", "path"))]


@pytest.fixture
def runtime():
    with Runtime() as runtime:
        yield runtime


@pytest.fixture
def telling(tmp_path):
    return python_neuropod(tmp_path, {"main.py": TELLS}, input_spec=INPUTS, output_spec=OUTPUTS)


@pytest.mark.workers
@pytest.mark.parametrize(
    ("version", "numpy"), [("3.6", "1.16.6"), ("3.7", "1.21.6"), ("3.11", "2.4.6"), ("3.13", "2.5.5")]
)
def test_a_worker_runs_under_a_registered_interpreter(runtime, telling, version, numpy):
    python = environment(f"plain-{version}", version, [f"numpy=={numpy}"])
    model = runtime.load(telling, environment=python)
    for size in (3, 100_000):
        sent = {"x": np.arange(size, dtype=np.float32), "s": np.array(["ü", "", "👩‍🚀"])}
        came = model.infer(sent)
        assert came["version"].tolist() == [version, numpy]
        assert (came["x"] == 2 * sent["x"]).all()
        assert came["s"].tolist() == ["ü", "", "👩‍🚀"]
    (worker,) = model.workers
    assert worker.python_version.startswith(version + ".")
    assert worker.platform_version == worker.python_version
    # Nothing of ours or of the application lies on the model's path, but for the support packages at its end.
    foreign = [neuropod_ope.__path__[0], str(WORKERS)]
    assert not [entry for entry in came["path"] if any(entry.startswith(place) for place in foreign)]


@pytest.mark.workers
def test_left_to_itself_a_model_runs_here_if_this_interpreter_satisfies_it(runtime, tmp_path):
    here = "{}.{}.x".format(*sys.version_info[:2])
    own = python_neuropod(
        tmp_path / "own", {"main.py": TELLS}, input_spec=INPUTS, output_spec=OUTPUTS, platform_version_semver=here
    )
    assert runtime.load(own).workers == ()
    assert len(runtime.load(own, out_of_process=True).workers) == 1
    assert len(runtime.load(own, timeout=10).workers) == 1


@pytest.mark.workers
def test_left_to_itself_a_model_for_another_python_gets_a_worker_with_it(runtime, tmp_path):
    old = python_neuropod(
        tmp_path, {"main.py": TELLS}, input_spec=INPUTS, output_spec=OUTPUTS, platform_version_semver="3.6.x"
    )
    with pytest.raises(NoMatchingEnvironment, match=r"cannot run in this process: .*3\.6\.x.*out_of_process=True"):
        runtime.load(old, out_of_process=False)
    model = runtime.load(old)
    assert model.infer({"x": [1], "s": "a"})["version"][0] == "3.6"
    assert model.workers[0].python_version.startswith("3.6.")


@pytest.mark.workers
def test_two_models_with_conflicting_pins_answer_side_by_side(runtime, tmp_path):
    packages = {}
    for pin in ("numpy==1.26.4", "numpy==2.2.6"):
        (folder := tmp_path / pin).mkdir()
        packages[pin] = python_neuropod(
            folder, {"main.py": TELLS}, input_spec=INPUTS, output_spec=OUTPUTS, requirements=[pin]
        )
    models = {pin: runtime.load(path) for pin, path in packages.items()}
    for _ in range(3):
        for pin, model in models.items():
            assert "numpy==" + model.infer({"x": [1], "s": "a"})["version"][1] == pin


@pytest.mark.workers
def test_never_building_names_the_command_that_would(tmp_path, telling):
    old = python_neuropod(
        tmp_path / "old", {"main.py": TELLS}, input_spec=INPUTS, output_spec=OUTPUTS, platform_version_semver="3.6.x"
    )
    with Runtime(cache_dir=tmp_path / "cache", build="never") as runtime:
        with pytest.raises(NoMatchingEnvironment, match=f"neuropod-ope env build .*{old}"):
            runtime.load(old)
        assert runtime.load(telling).infer({"x": [1], "s": "a"})["x"] == [2]


@pytest.mark.workers
def test_dropped_environment_variables_are_named_when_a_load_fails_for_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_TOKEN_FILE", "somewhere")
    code = "import os\ndef load(d):\n    os.environ['MODEL_TOKEN_FILE']\n    return lambda **x: x\n"
    path = python_neuropod(tmp_path, {"main.py": code})
    with Runtime() as runtime, pytest.raises(LoadError, match=r"MODEL_TOKEN_FILE.*environ_allow"):
        runtime.load(path, out_of_process=True)
    with Runtime(environ_allow=["MODEL_*"]) as runtime:
        runtime.load(path, out_of_process=True)


# ---- frameworks

SCRIPT = """
import sys
import numpy as np
import torch
from neuropod_worker.packagers import create_torchscript_neuropod

class Model(torch.jit.ScriptModule):
    @torch.jit.script_method
    def forward(self, x, y):
        return {"sum": x + y, "product": x * y}

def specs(*names):
    return [{"name": name, "dtype": "float32", "shape": ("n", None)} for name in names]

def full(value):
    return np.full((1, 1), value, np.float32)

create_torchscript_neuropod(
    neuropod_path=sys.argv[1], model_name="sums", module=Model(), platform_version_semver=sys.argv[2],
    input_spec=specs("x", "y"), output_spec=specs("sum", "product"),
    test_input_data={"x": full(1), "y": full(2)}, test_expected_out={"sum": full(3), "product": full(2)},
)
"""


def packaged_under(python, path, version_range):
    script = path.with_suffix(".py")  # TorchScript reads the source of what it compiles
    script.write_text(SCRIPT)
    run_with(python, script, path, version_range)
    return path


@pytest.mark.frameworks
def test_torch_1_1_0_and_torch_2_13_0_answer_side_by_side(runtime, tmp_path):
    old = locked_environment("torch-1.1.0-py36")
    new = locked_environment("torch-2.13.0-py311")
    models = [
        runtime.load(packaged_under(old, tmp_path / "old.neuropod", "1.1.x")),
        runtime.load(packaged_under(new, tmp_path / "new.neuropod", ">=2.13.0 <2.14.0")),
    ]
    assert [model.workers[0].platform_version.split("+")[0] for model in models] == ["1.1.0", "2.13.0"]
    assert "torch" not in sys.modules
    for number in range(1, 50):
        x = np.full((number, 1000), number, np.float32)
        for model in models:
            came = model.infer({"x": x, "y": x})
            assert (came["sum"] == 2 * number).all()
            assert (came["product"] == number * number).all()


@pytest.mark.frameworks
@pytest.mark.parametrize("name", ["torchscript_addition_model", "torchscript_strings_model"])
def test_packages_of_the_original_answer(runtime, name):
    model = runtime.load(fixture_neuropod(name))
    if "strings" in name:
        came = model.infer({"x": np.array(["sun", "", "日"]), "y": np.array(["flower", "x", "本"])})["out"]
        assert came.tolist() == ["sun flower", " x", "日 本"]
    else:
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        assert (model.infer({"x": x, "y": x})["out"] == 2 * x).all()
    assert model.workers


IN_PROCESS = """
import json, sys
import numpy as np
from neuropod_ope import Runtime
path, cache = sys.argv[1:]
random = np.random.default_rng(0)
inputs = [random.standard_normal(shape).astype("f4") for shape in [(1, 1), (0, 4), (7, 5), (300, 400)]]
with Runtime(cache_dir=cache) as runtime:
    here, there = (runtime.load(path, out_of_process=where) for where in (None, True))
    equal = all(
        (here.infer({"x": x, "y": x[::-1]})[name] == there.infer({"x": x, "y": x[::-1]})[name]).all()
        for x in inputs for name in ("sum", "product")
    )
    tensor = sys.modules["torch"].ones(2, 2)
    from_torch = there.infer({"x": tensor, "y": tensor})["sum"].tolist()
    print(json.dumps([len(here.workers), len(there.workers), there.workers[0].platform_version, equal, from_torch]))
"""


@pytest.mark.frameworks
def test_an_application_with_torch_runs_torchscript_here_and_in_a_worker_with_equal_results(tmp_path):
    needs = ["msgpack", "posix_ipc", "packaging", "node-semver", "uv"]
    python = environment("application-torch-2.13.0", "3.11", ["torch==2.13.0", "numpy==2.4.6", *needs])
    package = packaged_under(python, tmp_path / "sums.neuropod", "2.x")
    root = str(WORKERS.parent)
    run = subprocess.run(
        [python, "-c", IN_PROCESS, package, default_cache_dir()],
        env={"PYTHONPATH": f"{root}:{WORKERS}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    here, there, version, equal, from_torch = json.loads(run.stdout)
    assert (here, there, equal, from_torch) == (0, 1, True, [[2.0, 2.0]] * 2)
    assert version.startswith("2.13.0")
