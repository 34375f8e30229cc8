import hashlib
import json
import os
import platform
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from environments_for_tests import WORKERS
from sample_packages import DOUBLING, FLOATS_IN, FLOATS_OUT, python_neuropod, write_files

from neuropod_worker.errors import PackageError
from neuropod_worker.package import open_package
from neuropod_worker.package.tensors_file import read_test_data
from neuropod_worker.packagers import (
    create_keras_neuropod,
    create_python_neuropod,
    create_pytorch_neuropod,
    create_torchscript_neuropod,
)


def everything_under(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(str(folder)).rglob("*"))


def saved_module(path, member="archive/constants.pkl"):
    """A file with the only thing that the packager looks for in what torch.jit.save wrote."""
    with zipfile.ZipFile(str(path), "w") as archive:
        archive.writestr(member, b"")


def test_config_bytes_are_those_of_the_original(tmp_path):
    path = python_neuropod(
        tmp_path,
        {"main.py": DOUBLING},
        input_spec=[{"name": "x", "dtype": "double", "shape": (None, "n", 3)}],
        output_spec=[{"name": "y", "dtype": np.str_, "shape": None}],
        platform_version_semver=">=3.6",
        default_input_tensor_device="CPU",
    )
    expected = """{
    "custom_ops": [],
    "input_spec": [
        {
            "dtype": "float64",
            "name": "x",
            "shape": [
                null,
                "n",
                3
            ]
        }
    ],
    "input_tensor_device": {
        "x": "CPU"
    },
    "name": "sample",
    "output_spec": [
        {
            "dtype": "string",
            "name": "y",
            "shape": null
        }
    ],
    "platform": "python",
    "platform_version_semver": ">=3.6"
}"""
    assert Path(path, "config.json").read_text() == expected
    entry = '{"entrypoint": "load", "entrypoint_package": "model.main"}'
    assert Path(path, "0", "config.json").read_text() == entry


def test_the_manifest_lists_every_file_but_itself(tmp_path):
    path = python_neuropod(tmp_path, {"main.py": DOUBLING, "sub/deep/more.py": "", "sub/old.pyc": "x"})
    text = Path(path, "manifest.json").read_text()
    manifest = json.loads(text)
    assert text == json.dumps(manifest, indent=4, sort_keys=True)
    code = ["__init__.py", "model/__init__.py", "model/main.py", "model/sub/__init__.py"]
    code += ["model/sub/deep/__init__.py", "model/sub/deep/more.py"]
    assert set(manifest["files"]) == {"config.json", "0/config.json"}.union("0/code/" + name for name in code)
    digest = hashlib.sha256(Path(path, "config.json").read_bytes()).hexdigest()
    assert manifest["files"]["config.json"] == digest


def test_data_is_packaged_under_its_names_and_code_without_compiled_files(tmp_path):
    write_files(tmp_path / "files", {"weights.bin": "w", "folder/a": "a", "folder/b/c": "c"})
    path = python_neuropod(
        tmp_path,
        {"main.py": DOUBLING, "__pycache__/main.cpython-36.pyc": "x"},
        data_paths=[
            {"path": str(tmp_path / "files" / "weights.bin"), "packaged_name": "w.bin"},
            {"path": str(tmp_path / "files" / "folder"), "packaged_name": "nested/folder"},
        ],
    )
    data = Path(path, "0", "data")
    files = {name for name in everything_under(data) if (data / name).is_file()}
    assert files == {"w.bin", "nested/folder/a", "nested/folder/b/c"}
    assert everything_under(Path(path, "0", "code", "model")) == ["__init__.py", "main.py"]


@pytest.mark.parametrize("zip_compression", [False, True])
def test_zips_of_equal_packages_are_equal(tmp_path, zip_compression):
    paths = [
        python_neuropod(
            tmp_path,
            {"main.py": DOUBLING},
            neuropod_path=str(tmp_path / name),
            package_as_zip=True,
            zip_compression=zip_compression,
        )
        for name in ("one", "two")
    ]
    assert Path(paths[0]).read_bytes() == Path(paths[1]).read_bytes()
    with zipfile.ZipFile(paths[0]) as archive:
        assert archive.namelist() == sorted(archive.namelist())
        expected = zipfile.ZIP_DEFLATED if zip_compression else zipfile.ZIP_STORED
        assert {member.compress_type for member in archive.infolist()} == {expected}


def test_a_torchscript_package_from_a_file_holds_it_as_model_pt(tmp_path):
    write_files(tmp_path, {"ops/my_op.so": "library"})
    saved_module(tmp_path / "saved.pt")
    path = str(tmp_path / "packaged")
    create_torchscript_neuropod(
        path,
        "scripted",
        FLOATS_IN,
        FLOATS_OUT,
        module_path=str(tmp_path / "saved.pt"),
        custom_ops=[str(tmp_path / "ops" / "my_op.so")],
        input_tensor_device={"x": "CPU"},
        package_as_zip=False,
    )
    package = open_package(path)
    assert Path(package.file("data", "model.pt")).read_bytes() == (tmp_path / "saved.pt").read_bytes()
    assert package.platform == "torchscript"
    assert package.custom_ops == ("my_op.so",)
    assert [Path(op).read_text() for op in package.custom_op_paths()] == ["library"]
    assert package.input_devices == {"x": "CPU"}


def test_a_module_is_saved_by_its_own_method(tmp_path):
    class Module:
        def save(self, path):
            Path(path).write_text("saved")

    create_torchscript_neuropod(
        str(tmp_path / "p"), "m", FLOATS_IN, FLOATS_OUT, module=Module(), package_as_zip=False
    )
    assert (tmp_path / "p" / "0" / "data" / "model.pt").read_text() == "saved"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"module_path": "folder"}, "module_path must be a file, but .*folder is no regular file"),
        ({"module_path": "nowhere.pt"}, "module_path must be a file, but .*nowhere.pt does not exist"),
        ({"module_path": "text.pt"}, "module_path must be a file that torch.jit.save wrote, .* text.pt is none"),
        (
            {"module_path": "weights.pt"},
            "module_path must be a file that torch.jit.save wrote, .* weights.pt is none",
        ),
        ({"module_path": 5}, "module_path must be a path, a str or a Path that is not empty, not 5"),
        ({"module": 5}, "module cannot be saved; it must be a ScriptModule"),
    ],
)
def test_a_wrong_source_of_a_torchscript_module_is_a_value_error_and_leaves_nothing(
    tmp_path, monkeypatch, source, message
):
    monkeypatch.chdir(str(tmp_path))
    write_files(tmp_path, {"text.pt": "no module", "folder/model.pt": ""})
    saved_module(tmp_path / "weights.pt", member="archive/data.pkl")  # as torch.save writes
    before = everything_under(tmp_path)
    with pytest.raises(ValueError, match=message):
        create_torchscript_neuropod(str(tmp_path / "p"), "m", FLOATS_IN, FLOATS_OUT, **source)
    assert everything_under(tmp_path) == before


def test_exactly_one_source_of_a_torchscript_module_is_taken(tmp_path):
    for sources in ({}, {"module": object(), "module_path": "x"}):
        with pytest.raises(ValueError, match="exactly one of module and module_path"):
            create_torchscript_neuropod(str(tmp_path / "p"), "m", FLOATS_IN, FLOATS_OUT, **sources)


def test_the_pytorch_packager_is_the_python_packager():
    assert create_pytorch_neuropod is create_python_neuropod


def test_a_parameter_that_no_packager_has_is_an_error_that_names_those_there_are(tmp_path):
    with pytest.raises(
        TypeError, match=r"no parameter 'test_input'; .* test_input_data, test_expected_out, .*compression$"
    ):
        python_neuropod(tmp_path, {"main.py": DOUBLING}, test_input={"x": [1]})


def test_what_is_no_keras_model_is_a_value_error(tmp_path):
    with pytest.raises(PackageError, match="does not say what its inputs are: 5"):
        create_keras_neuropod(str(tmp_path / "p"), "m", None, 5)


def test_the_finished_package_is_run_and_its_sample_data_kept(tmp_path):
    sample = {"test_input_data": {"x": np.float32([1, 2])}, "test_expected_out": {"y": [2.0, 4.0000001]}}
    path = python_neuropod(tmp_path, {"main.py": DOUBLING}, **sample)
    data = read_test_data(path)
    np.testing.assert_array_equal(data.inputs["x"], [1, 2])
    assert "test_data.npz" in json.loads(Path(path, "manifest.json").read_text())["files"]
    assert not list(Path(path).rglob("__pycache__"))
    bare = python_neuropod(
        tmp_path, {"main.py": DOUBLING}, neuropod_path=str(tmp_path / "bare"), persist_test_data=False, **sample
    )
    assert read_test_data(bare) is None


def test_a_test_in_another_environment_than_the_packages_own_is_a_warning(tmp_path):
    x = {"x": np.float32([1, 2])}
    elsewhere = {"platform_version_semver": "3.99.x", "requirements": ["numpy==0.1", "no-such-thing==1.0"]}
    here = "Python {}, not 3.99.x; numpy {}, not 0.1; no-such-thing in no version, not 1.0"
    with pytest.warns(UserWarning) as warned:
        python_neuropod(tmp_path, {"main.py": DOUBLING}, test_input_data=x, **elsewhere)
    assert here.format(platform.python_version(), np.__version__) in str(warned[0].message)
    numpy_here = {"requirements": ["numpy=={}".format(np.__version__), "x==1 ; python_version < '3'"]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        python_neuropod(
            tmp_path, {"main.py": DOUBLING}, neuropod_path=str(tmp_path / "2"), test_input_data=x, **numpy_here
        )


USES_A_LIBRARY = """
import sys
import of_the_user
def load(data_dir):
    assert not [place for place in sys.path if "neuropod_worker" in place or place == ""], sys.path
    return lambda x: {"y": x * of_the_user.FACTOR}
"""
PACKAGES = """
import sys
from pathlib import Path
import numpy as np
from sample_packages import python_neuropod
x = np.float32([1, 2])
python_neuropod(Path(sys.argv[1]), {"main.py": sys.argv[2]}, test_input_data={"x": x}, test_expected_out={"y": x * 3})
"""


@pytest.mark.parametrize("options", [[], ["-s"]])
def test_the_finished_package_is_run_with_the_libraries_of_the_packaging_interpreter(tmp_path, options):
    site = "lib/python{}.{}/site-packages".format(*sys.version_info)
    write_files(tmp_path / "user" / site, {"of_the_user.py": "FACTOR = 3"})
    path = [str(WORKERS), str(Path(__file__).parent.parent), str(Path(np.__file__).parent.parent)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONUSERBASE": str(tmp_path / "user")}
    # Not a virtual environment's: these see no libraries of the user.
    command = [os.path.realpath(sys.executable), *options, "-c", PACKAGES, str(tmp_path), USES_A_LIBRARY]
    run = subprocess.run(command, env=environ, stderr=subprocess.PIPE)
    if options == ["-s"]:
        assert b"No module named 'of_the_user'" in run.stderr
    else:
        assert run.returncode == 0, run.stderr.decode()
    assert (tmp_path / "packaged").exists() == (options == [])


def test_test_data_may_be_lists_and_texts_in_objects_as_the_inputs_of_a_call_may(tmp_path):
    python_neuropod(
        tmp_path,
        {"main.py": "def load(d):\n    return lambda x, s: {'y': x * 2, 't': s}\n"},
        input_spec=[
            {"name": "x", "dtype": "float32", "shape": (None,)},
            {"name": "s", "dtype": "string", "shape": (None,)},
        ],
        output_spec=[
            {"name": "y", "dtype": "float32", "shape": (None,)},
            {"name": "t", "dtype": "string", "shape": (None,)},
        ],
        test_input_data={"x": [1, 2], "s": np.array(["a", "bc"], object)},
        test_expected_out={"y": [2, 4], "t": ["a", "bc"]},
    )


def test_expected_outputs_that_hold_python_objects_are_a_value_error(tmp_path):
    with pytest.raises(ValueError, match="output 'y' holds Python objects"):
        python_neuropod(
            tmp_path,
            {"main.py": "def load(d):\n    return lambda x: {'y': x}\n"},
            test_input_data={"x": [1]},
            test_expected_out={"y": [None]},
            persist_test_data=False,
        )


@pytest.mark.parametrize(
    ("code", "expected", "message"),
    [
        (DOUBLING, {"y": np.float32([2, 5])}, r"(?s)'y' is\n\[2\. 4\.\]\nexpected\n\[2\. 5\.\]"),
        (DOUBLING, {"y": np.float32([2])}, r"'y' has shape \(2,\), expected \(1,\)"),
        (
            "load = lambda data: lambda x: {}",
            {"y": np.float32([2])},
            r"'y' is expected, but the model gives only \[\]",
        ),
        (
            "def load(data):\n    raise KeyError('the cause')",
            None,
            "(?s)does not run on its test input.*KeyError: 'the",
        ),
        (
            "import os\nload = lambda data: lambda x: os._exit(0)",
            None,
            "does not run on its test input .exit status 0",
        ),
    ],
)
def test_a_package_that_fails_its_test_is_a_value_error_and_not_kept(tmp_path, code, expected, message):
    with pytest.raises(ValueError, match=message):
        python_neuropod(
            tmp_path, {"main.py": code}, test_input_data={"x": np.float32([1, 2])}, test_expected_out=expected
        )
    assert [name for name in os.listdir(str(tmp_path)) if name != "source"] == []


@pytest.mark.parametrize(
    ("files", "entry", "message"),
    [
        (
            {"main.py": DOUBLING},
            "model.mian",
            "no module model.mian for the entry point in what code_path_spec",
        ),
        ({"main.py": DOUBLING}, "main", "there is no module main for the entry point"),
        ({"main.py": DOUBLING}, "os.path", "there is no module os.path for the entry point"),
        ({"main.py": "def load("}, "model.main", r"is none to Python \S+: .*line 1"),
    ],
)
def test_an_entry_point_that_cannot_be_one_is_refused_without_a_test_run(tmp_path, files, entry, message):
    with pytest.raises(PackageError, match=message):
        python_neuropod(tmp_path, files, entrypoint_package=entry)
    assert not (tmp_path / "packaged").exists()


@pytest.mark.parametrize(
    ("files", "parameters"),
    [
        ({"__init__.py": DOUBLING}, {"entrypoint_package": "model"}),
        ({"main.cpython-36m-x86_64-linux-gnu.so": "binary"}, {}),
        ({"main.py": "def load("}, {"platform_version_semver": "3.99.x"}),
        ({"main.py": "# coding: latin-1\nload = lambda data: lambda x: {'y': x}"}, {}),
    ],
)
def test_whatever_can_be_an_entry_point_is_packaged(tmp_path, files, parameters):
    assert open_package(python_neuropod(tmp_path, files, **parameters))


def test_what_a_test_run_says_names_the_package_and_no_folder_that_is_gone(tmp_path):
    with pytest.raises(PackageError, match="the finished package does not run") as caught:
        code = "def load(data_dir):\n    raise ValueError('nothing in ' + data_dir)\n"
        python_neuropod(tmp_path, {"main.py": code}, test_input_data={"x": np.float32([1])})
    assert "nothing in {}".format(tmp_path / "packaged" / "0" / "data") in str(caught.value)
    assert "tested" not in str(caught.value)
    assert caught.value.path == str(tmp_path / "packaged")


def test_strings_are_compared_exactly(tmp_path):
    strings = [{"name": "x", "dtype": "string", "shape": (None,)}]
    code = "def load(data):\n    return lambda x: {'x': [s + '😀' for s in x.tolist()]}"
    arguments = {"input_spec": strings, "output_spec": strings, "test_input_data": {"x": ["a", ""]}}
    python_neuropod(tmp_path, {"main.py": code}, test_expected_out={"x": ["a😀", "😀"]}, **arguments)
    with pytest.raises(ValueError, match="not the expected ones"):
        python_neuropod(
            tmp_path,
            {"main.py": code},
            neuropod_path=str(tmp_path / "other"),
            test_expected_out={"x": ["a", "😀"]},
            **arguments,
        )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"input_tensor_device": {"nope": "CPU"}}, "names no input of the model: nope"),
        ({"default_input_tensor_device": "TPU"}, "default_input_tensor_device must be GPU or CPU"),
        ({"input_spec": [{"name": "x", "dtype": "float99", "shape": []}]}, "input 'x': dtype 'float99'"),
        ({"test_expected_out": {"y": np.float32([1])}}, "test_expected_out needs test_input_data"),
        ({"test_input_data": {"z": 1}}, "there is no input 'z'"),
        ({"input_spec": [{"name": "x", "dtype": "int8", "shape": {"n": 1}}]}, "must be a list of dimensions or None"),
        ({"test_input_data": {"x": [1]}, "test_expected_out": {"z": [1]}}, "there is no output 'z'"),
        ({"test_input_data": {"x": [1]}, "test_expected_out": {5: [1]}}, "must be a list of names, and 5 is none"),
        ({"custom_ops": ["/nowhere/op.so"]}, "each of custom_ops must be a file, but /nowhere/op.so does not exist"),
        ({"custom_ops": "/path/op.so"}, "custom_ops must be a list, not '/path/op.so'"),
        ({"custom_ops": b"/path/op.so"}, "custom_ops must be a list, not b'/path/op.so'"),
        ({"custom_ops": 5}, "custom_ops must be a list, not 5"),
        ({"custom_ops": [b"/path/op.so"]}, "each of custom_ops must be a path"),
        ({"custom_ops": ["/"]}, "each of custom_ops must be a file, but / is no regular file"),
        ({"data_paths": "/path"}, "data_paths must be a list, not '/path'"),
        ({"data_paths": ["/path"]}, "data_paths must be a list of dicts, not of '/path'"),
        ({"data_paths": [{"path": "/path"}]}, "an item of data_paths has no 'packaged_name'"),
        (
            {"data_paths": [{"path": 5, "packaged_name": "x"}]},
            "path must be a path, a str or a Path that is not empty, not 5",
        ),
        ({"code_path_spec": "/path"}, "code_path_spec must be a list"),
        ({"code_path_spec": [{"python_root": "/path"}]}, "an item of code_path_spec has no 'dirs_to_package'"),
        (
            {"code_path_spec": [{"python_root": "/path", "dirs_to_package": "model"}]},
            "dirs_to_package must be a list, not 'model'",
        ),
        (
            {"code_path_spec": [{"python_root": "/path", "dirs_to_package": [""]}]},
            "each of dirs_to_package must be a path, a str or a Path that is not empty, not ''",
        ),
        (
            {"code_path_spec": [{"python_root": "/path", "dirs_to_package": ["../out"]}]},
            "'../out' leads out of the package",
        ),
        ({"entrypoint": None}, "entrypoint must be a string that is not empty, not None"),
        ({"model_name": None}, "model_name must be a string that is not empty, not None"),
        ({"model_name": ""}, "model_name must be a string"),
        ({"neuropod_path": b"/tmp/x"}, "neuropod_path must be a path"),
        ({"neuropod_path": ""}, "neuropod_path must be a path, a str or a Path that is not empty, not ''"),
        ({"neuropod_path": "n" * 300}, "the package .*nnn cannot be written: File name too long"),
        ({"requirements": 5}, "requirements must be a list"),
        ({"requirements": [5]}, "each of requirements must be a string"),
        ({"test_input_data": 5}, "test data must be a dict of tensors by name, not 5"),
        ({"input_tensor_device": "GPU"}, "input_tensor_device must be a dict of GPU or CPU by name, not 'GPU'"),
        ({"data_paths": [{"path": "/nowhere", "packaged_name": "../out"}]}, "leads out of the package"),
        ({"data_paths": [{"path": "/nowhere/x", "packaged_name": "x"}]}, "there is no file or folder /nowhere/x"),
        ({"neuropod_path": "/nowhere/folder/package"}, "there is no folder /nowhere/folder"),
    ],
)
def test_a_wrong_argument_is_a_value_error_and_leaves_nothing(tmp_path, parameters, message):
    with pytest.raises(ValueError, match=message):
        python_neuropod(tmp_path, {"main.py": DOUBLING}, **parameters)
    assert [name for name in os.listdir(str(tmp_path)) if name != "source"] == []


@pytest.mark.parametrize("name", ["", ".", "./", "a/.."])
def test_data_needs_a_name(tmp_path, name):
    write_files(tmp_path, {"file": ""})
    with pytest.raises(PackageError, match="packaged_name must be "):
        python_neuropod(
            tmp_path, {"main.py": DOUBLING}, data_paths=[{"path": str(tmp_path / "file"), "packaged_name": name}]
        )


def test_data_inside_the_file_of_other_data_is_refused(tmp_path):
    path = str(write_files(tmp_path, {"file": ""}) / "file")
    data = [{"path": path, "packaged_name": name} for name in ("a", "a/b/c")]
    with pytest.raises(PackageError, match="'a/b/c' would lie inside the file that is packaged as 'a'"):
        python_neuropod(tmp_path, {"main.py": DOUBLING}, data_paths=data)
    with pytest.raises(PackageError, match="over what is packaged already"):
        python_neuropod(tmp_path, {"main.py": DOUBLING}, data_paths=data[::-1])


def test_lists_may_be_generators_and_paths_objects(tmp_path):
    write_files(tmp_path, {"op.so": "library", "file": ""})
    path = python_neuropod(
        tmp_path,
        {"main.py": DOUBLING},
        custom_ops=(tmp_path / name for name in ["op.so"]),
        data_paths=({"path": tmp_path / name, "packaged_name": name} for name in ["file"]),
    )
    assert open_package(path).custom_ops == ("op.so",)
    assert Path(path, "0", "ops", "op.so").read_text() == "library"
    assert Path(path, "0", "data", "file").exists()


@pytest.mark.parametrize(
    ("link", "target", "message"),
    [
        ("dangling", "nowhere", "is a link that leads to no file"),
        ("itself", "itself", "is a link that leads to no file"),
        ("up", "..", "is a link to a folder that it lies in itself"),
    ],
)
def test_links_that_lead_nowhere_or_in_circles_are_refused(tmp_path, link, target, message):
    write_files(tmp_path / "files", {"folder/a": "a"})
    (tmp_path / "files" / "folder" / link).symlink_to(target)
    with pytest.raises(PackageError, match=link + " " + message):
        python_neuropod(
            tmp_path,
            {"main.py": DOUBLING},
            data_paths=[{"path": str(tmp_path / "files"), "packaged_name": "files"}],
        )
    assert not (tmp_path / "packaged").exists()


def test_what_is_no_regular_file_is_refused(tmp_path):
    (tmp_path / "files").mkdir()
    os.mkfifo(str(tmp_path / "files" / "pipe"))
    with pytest.raises(PackageError, match="pipe is no regular file"):
        python_neuropod(
            tmp_path,
            {"main.py": DOUBLING},
            data_paths=[{"path": str(tmp_path / "files"), "packaged_name": "files"}],
        )


def test_two_custom_ops_of_one_name_are_a_value_error_that_names_both(tmp_path):
    write_files(tmp_path, {"a/op.so": "one", "b/op.so": "another"})
    ops = [str(tmp_path / name / "op.so") for name in "ab"]
    with pytest.raises(
        ValueError, match=r"custom_ops must have names of their own, .*a/op.so and .*b/op.so have not"
    ):
        python_neuropod(tmp_path, {"main.py": DOUBLING}, custom_ops=ops)
    assert not (tmp_path / "packaged").exists()


def test_all_of_a_python_root_may_be_packaged(tmp_path):
    root = str(write_files(tmp_path / "root", {"main.py": DOUBLING, "sub/more.py": ""}))
    code = [{"python_root": root, "dirs_to_package": ["."]}]
    path = python_neuropod(tmp_path, {}, code_path_spec=code, entrypoint_package="main")
    assert {"main.py", "sub/more.py", "__init__.py"} < set(everything_under(Path(path, "0", "code")))


def test_no_range_is_written_as_any_version(tmp_path):
    path = python_neuropod(tmp_path, {"main.py": DOUBLING}, platform_version_semver="")
    assert json.loads(Path(path, "config.json").read_text())["platform_version_semver"] == "*"


RANGES = ("*", "", "x", "1.4.x", "^1.4", "~1", ">=1.1 <1.5", ">= 1.1", "1.2 - 1.4", "1.x || 2.x", "v1.2.3-rc.1+cpu")


@pytest.mark.parametrize("version_range", RANGES)
def test_an_npm_range_is_taken(tmp_path, version_range):
    path = python_neuropod(tmp_path, {"main.py": DOUBLING}, platform_version_semver=version_range)
    assert open_package(path).version_range == (version_range or "*")


@pytest.mark.parametrize(
    "version_range", [None, 3, "banana", "latest", ">=3.6,<4", "==1.2", "~=1.2", ">=1.1<1.5", "1.2.3.4", "<", "1..2"]
)
def test_what_is_no_npm_range_is_refused(tmp_path, version_range):
    with pytest.raises(PackageError, match=r"platform_version_semver must be a version range as npm .*, not ") as it:
        python_neuropod(tmp_path, {"main.py": DOUBLING}, platform_version_semver=version_range)
    assert repr(version_range) in str(it.value)


@pytest.mark.parametrize("package_as_zip", [False, True])
def test_what_a_model_writes_into_its_folder_in_the_self_test_is_not_packaged(tmp_path, package_as_zip):
    code = "import os\ndef load(data):\n    for name in ('weights', 'more'):\n"
    code += "        with open(os.path.join(data, name), 'a') as file:\n            file.write('!')\n"
    code += "    return lambda x: {'y': x}"
    write_files(tmp_path, {"weights": "w"})
    path = python_neuropod(
        tmp_path,
        {"main.py": code},
        data_paths=[{"path": str(tmp_path / "weights"), "packaged_name": "weights"}],
        test_input_data={"x": np.float32([1])},
        package_as_zip=package_as_zip,
    )
    package = open_package(path, str(tmp_path / "cache"))
    assert os.listdir(package.file("data")) == ["weights"]
    assert Path(package.file("data", "weights")).read_text() == "w"


def test_what_is_packaged_already_is_not_overwritten(tmp_path):
    root = str(write_files(tmp_path / "root", {"model/main.py": DOUBLING}))
    twice = [{"python_root": root, "dirs_to_package": ["model", "model"]}]
    with pytest.raises(PackageError, match="packaged over what is packaged already"):
        python_neuropod(tmp_path, {"main.py": DOUBLING}, code_path_spec=twice)


@pytest.mark.parametrize("package_as_zip", [False, True])
def test_an_existing_output_path_is_a_value_error_and_stays(tmp_path, package_as_zip):
    existing = tmp_path / "packaged"
    existing.mkdir()
    with pytest.raises(ValueError, match="exists already"):
        python_neuropod(tmp_path, {"main.py": DOUBLING}, package_as_zip=package_as_zip)
    assert everything_under(existing) == []


def test_a_package_inside_what_it_packages_is_a_value_error(tmp_path):
    with pytest.raises(ValueError, match="must not lie inside the data path"):
        python_neuropod(tmp_path, {"main.py": DOUBLING}, data_paths=[{"path": str(tmp_path), "packaged_name": "all"}])
    with pytest.raises(ValueError, match="must not lie inside the python_root"):
        python_neuropod(tmp_path, {"main.py": DOUBLING}, neuropod_path=str(tmp_path / "source" / "p"))
