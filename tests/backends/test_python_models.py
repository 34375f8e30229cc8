import importlib.util
import os
import shutil
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sample_packages import DOUBLING, FLOATS_OUT, python_package, write_files

from neuropod_worker.backends import LoadOptions, check_platform, load_model
from neuropod_worker.errors import LoadError, PackageError, SpecError

X = np.float32([1, 2, 3])


def returning(expression):
    return f"import numpy as np\ndef load(data_dir):\n    return lambda **inputs: {expression}\n"


def test_a_model_is_called_with_its_inputs_by_keyword(tmp_path):
    model = load_model(python_package(tmp_path, {"main.py": DOUBLING}))
    np.testing.assert_array_equal(model.infer({"x": X})["y"], [2, 4, 6])
    assert model.platform_version == ".".join(map(str, sys.version_info[:3]))


def test_inputs_may_be_missing_and_names_need_not_be_identifiers(tmp_path):
    specs = [{"name": "a b", "dtype": "float32", "shape": None}, {"name": "class", "dtype": "float32", "shape": None}]
    package = python_package(tmp_path, {"main.py": returning("dict(y=np.float32([len(inputs)]))")}, input_spec=specs)
    model = load_model(package)
    assert model.infer({})["y"] == [0]
    assert model.infer({"a b": X, "class": X})["y"] == [2]


def test_the_entry_point_gets_the_data_folder(tmp_path):
    write_files(tmp_path, {"weight.txt": "7"})
    code = "import os\ndef load(data):\n    w = float(open(os.path.join(data, 'w')).read())\n"
    code += "    return lambda x: {'y': x * w}"
    data = [{"path": str(tmp_path / "weight.txt"), "packaged_name": "w"}]
    model = load_model(python_package(tmp_path, {"main.py": code}, data_paths=data))
    np.testing.assert_array_equal(model.infer({"x": X})["y"], X * 7)


@pytest.mark.parametrize(
    ("expression", "dtype", "shape", "expected"),
    [
        ("{'y': [1.5, 2.5]}", "float64", (2,), [1.5, 2.5]),
        ("{'y': 3}", "int64", (), 3),
        ("{'y': np.float32(2)}", "float32", (), 2),
        ("{'y': ['a', '']}", "string", ("n",), ["a", ""]),
        ("{'y': True}", "bool", (), True),
        ("{'y': np.array([1, 2], '>i4')}", "int32", (2,), [1, 2]),
        ("{'y': np.arange(6).reshape(2, 3).T}", "int64", (3, 2), [[0, 3], [1, 4], [2, 5]]),
    ],
)
def test_whatever_numpy_understands_is_an_output(tmp_path, expression, dtype, shape, expected):
    spec = [{"name": "y", "dtype": dtype, "shape": shape}]
    model = load_model(python_package(tmp_path, {"main.py": returning(expression)}, output_spec=spec))
    for _ in range(2):
        output = model.infer({})["y"]
        assert isinstance(output, np.ndarray)
        assert output.dtype.isnative
        np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("None", "must return a dict of arrays by output name, but returned NoneType"),
        ("np.zeros(3)", "but returned ndarray"),
        ("{'y': np.zeros(3)}", "output 'y': dtype should be float32, but is float64"),
        ("{'z': np.float32([1])}", "the model returned 'z', which is no output of its problem definition: 'y'"),
    ],
)
def test_outputs_that_do_not_fit_are_spec_errors(tmp_path, expression, message):
    model = load_model(python_package(tmp_path, {"main.py": returning(expression)}))
    for _ in range(2):
        with pytest.raises(SpecError, match=message):
            model.infer({})


def test_a_symbol_of_the_inputs_may_have_another_size_in_the_outputs_and_one_size_in_all_of_them(tmp_path):
    names = {"input_spec": ["x"], "output_spec": ["y", "z"]}
    specs = {role: [{"name": n, "dtype": "float32", "shape": ("n",)} for n in names[role]] for role in names}
    code = "def load(data):\n    return lambda x: {'y': x[1:], 'z': x[int(x[0]):]}\n"
    model = load_model(python_package(tmp_path, {"main.py": code}, **specs))
    assert model.infer({"x": X})["z"].tolist() == [2, 3]
    with pytest.raises(SpecError, match=r"output 'z': dimension 0 should be 2 \(the symbol 'n', as in output 'y'\)"):
        model.infer({"x": X - 1})


def test_without_validation_outputs_pass_as_they_are(tmp_path):
    package = python_package(tmp_path, {"main.py": returning("{'z': [1]}")})
    assert load_model(package, LoadOptions(validate=False)).infer({})["z"].tolist() == [1]


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize(
    ("value", "dtype"),
    [("np.array([b'x'])", "bytes8"), ("np.array(['2020-01-01'], 'M8[D]')", "datetime64"), ("object()", "object")],
)
def test_outputs_that_cannot_cross_processes_are_spec_errors_in_process_too(tmp_path, value, dtype, validate):
    package = python_package(tmp_path, {"main.py": returning("{'y': " + value + "}")})
    model = load_model(package, LoadOptions(validate=validate))
    for _ in range(2):
        with pytest.raises(SpecError, match="output 'y' has dtype " + dtype) as caught:
            model.infer({})
        assert caught.value.tensor == "y"


def test_requested_outputs_are_selected_and_must_exist(tmp_path):
    spec = [*FLOATS_OUT]
    spec += [{"name": name, "dtype": "int64", "shape": ()} for name in ("z", "never")]
    model = load_model(
        python_package(tmp_path, {"main.py": returning("{'y': np.float32([1]), 'z': 2}")}, output_spec=spec)
    )
    assert sorted(model.infer({})) == ["y", "z"]
    assert list(model.infer({}, ["z"])) == ["z"]
    with pytest.raises(SpecError, match="there is no output 'nope'"):
        model.infer({}, ["nope"])
    with pytest.raises(SpecError, match="did not return the requested output 'never'"):
        model.infer({}, ["y", "never"])


def test_many_shapes_pass_and_a_wrong_one_among_them_does_not(tmp_path):
    spec = [{"name": "y", "dtype": "float32", "shape": (None, 2)}]
    code = "def load(data):\n    return lambda x: {'y': x}"
    anything = [{"name": "x", "dtype": "float32", "shape": None}]
    model = load_model(python_package(tmp_path, {"main.py": code}, input_spec=anything, output_spec=spec))
    for size in range(2000):
        array = np.zeros((size, 2), "f4")
        assert model.infer({"x": array})["y"] is array
    with pytest.raises(SpecError, match="dimension 1 should be 2"):
        model.infer({"x": np.zeros((2, 3), "f4")})


def test_the_models_own_exception_propagates_raw(tmp_path):
    code = "class Own(Exception):\n    pass\n"
    code += "def load(data):\n    def f(x):\n        raise Own('why')\n    return f"
    model = load_model(python_package(tmp_path, {"main.py": code}))
    with pytest.raises(Exception, match="why") as caught:
        model.infer({"x": X})
    assert type(caught.value).__name__ == "Own"


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({"other.py": ""}, PackageError, "there is no module for the entry point model.main.load"),
        ({"main.py": "x = 1"}, PackageError, "the entry point model.main.load does not exist"),
        ({"main.py": "load = 1"}, PackageError, "is not callable"),
        ({"main.py": "def load(data): pass"}, PackageError, "must return a callable, but returned NoneType"),
        (
            {"main.py": "import no_such_thing"},
            LoadError,
            "'no_such_thing'; add the distribution that has it to the package's `requirements`, or load with",
        ),
        (
            {"main.py": "def load(data): import model.forgotten"},
            LoadError,
            "'model.forgotten'; a module of the model's own belongs into `code_path_spec`",
        ),
        ({"main.py": "def load(): pass"}, LoadError, r"entry point model.main.load\(data_folder\) failed: TypeError"),
        ({"main.py": "def load("}, LoadError, "SyntaxError"),
        ({"main.py": "raise SystemExit(3)"}, LoadError, "cannot be imported: SystemExit: 3"),
        ({"main.py": "def load(data): raise RuntimeError('no weights')"}, LoadError, "RuntimeError: no weights"),
    ],
)
def test_a_model_that_cannot_be_loaded_says_why_and_leaves_no_trace(tmp_path, files, error, message):
    before = list(sys.path), set(sys.modules), list(sys.meta_path)
    package = python_package(tmp_path, {"main.py": DOUBLING})
    shutil.rmtree(package.file("code", "model"))  # for packagers refuse some of these
    write_files(Path(package.file("code", "model")), {"__init__.py": "", **files})
    with pytest.raises(error, match=message):
        load_model(package)
    assert (list(sys.path), list(sys.meta_path)) == (before[0], before[2])
    assert not {name for name in set(sys.modules) - before[1] if name.startswith("model")}


def test_a_load_error_carries_the_remote_type_and_traceback(tmp_path):
    code = "class Own(Exception):\n    pass\ndef load(data):\n    raise Own('why')"
    with pytest.raises(LoadError) as caught:
        load_model(python_package(tmp_path, {"main.py": code}))
    assert caught.value.remote_type == "Own"
    assert "raise Own('why')" in caught.value.remote_traceback


def test_an_exception_without_a_text_is_a_load_error_too(tmp_path):
    code = "class Own(Exception):\n    def __str__(self):\n        return self.missing\n"
    code += "def load(data):\n    raise Own()"
    with pytest.raises(
        LoadError, match=r"Own: \(the text of the exception cannot be had: AttributeError\)"
    ) as caught:
        load_model(python_package(tmp_path, {"main.py": code}))
    assert "in load" in caught.value.remote_traceback


def test_an_entry_point_outside_the_package_is_a_package_error(tmp_path):
    package = python_package(tmp_path, {"main.py": DOUBLING})
    Path(package.file("config.json")).write_text('{"entrypoint_package": "os.path", "entrypoint": "join"}')
    with pytest.raises(PackageError, match="there is no module for the entry point"):
        load_model(package)


def test_an_unknown_platform_is_a_package_error(tmp_path):
    package = python_package(tmp_path, {"main.py": DOUBLING})._replace(platform="onnx")
    for refuse in (load_model, check_platform):
        with pytest.raises(PackageError, match="platform 'onnx' is not supported; supported are python, "):
            refuse(package)


def test_a_call_that_runs_while_the_model_is_closed_ends_well(tmp_path, monkeypatch):
    events = SimpleNamespace(inside=threading.Event(), closed=threading.Event())
    monkeypatch.setitem(sys.modules, "events_of_the_test", events)
    code = "import events_of_the_test as events\n"
    code += "def load(data):\n    def f(x):\n        events.inside.set()\n        assert events.closed.wait(60)\n"
    code += "        from model.later import factor\n        return {'y': x * factor}\n    return f\n"
    model = load_model(python_package(tmp_path, {"main.py": code, "later.py": "factor = 3\n"}))
    results = []
    calling = threading.Thread(target=lambda: results.append(model.infer({"x": X})["y"].tolist()))
    calling.start()
    assert events.inside.wait(60)
    model.close()
    events.closed.set()
    calling.join()
    assert results == [[3, 6, 9]]
    assert model.infer({"x": X})["y"].tolist() == [3, 6, 9], "one that comes just after, too"


def test_a_missing_framework_is_a_load_error_that_names_it(tmp_path):
    if importlib.util.find_spec("torch"):
        pytest.skip("torch is installed here")
    package = python_package(tmp_path, {"main.py": DOUBLING})._replace(platform="torchscript")
    write_files(tmp_path / "packaged" / "0" / "data", {"model.pt": ""})
    with pytest.raises(LoadError, match=r"needs torch, but it cannot be imported here: ModuleNotFoundError"):
        load_model(package)


def test_loading_writes_nothing_into_the_package(tmp_path):
    package = python_package(tmp_path, {"main.py": DOUBLING})
    before = sorted(os.walk(package.path))
    load_model(package)
    assert sorted(os.walk(package.path)) == before


def test_a_list_of_arrays_in_place_of_a_dict_is_told_after_calls_that_were_well(tmp_path):
    code = "import numpy as np\ndef load(data):\n    one = np.ones((2, 2), 'f4')\n"
    code += "    return lambda x: [one, one] if x[0] else {'y': one}\n"
    spec = [{"name": "y", "dtype": "float32", "shape": None}]
    anything = [{"name": "x", "dtype": "float32", "shape": None}]
    model = load_model(python_package(tmp_path, {"main.py": code}, input_spec=anything, output_spec=spec))
    model.infer({"x": np.zeros(1, "f4")})
    with pytest.raises(SpecError, match="must return a dict of arrays by output name, but returned list"):
        model.infer({"x": np.ones(1, "f4")})
