"""TorchScript models under the torch of this interpreter; tests/matrix runs it under several."""

import gc
import os
import warnings
from typing import NamedTuple

import numpy as np
import pytest
import torch
from environments_for_tests import fixture_neuropod
from sample_packages import write_files
from torch import Tensor

from neuropod_worker.backends import LoadOptions, load_model
from neuropod_worker.errors import LoadError, PackageError, SpecError
from neuropod_worker.package import open_package, read_package
from neuropod_worker.packagers import create_torchscript_neuropod

VERSION = tuple(int(number) for number in torch.__version__.split("+")[0].split(".")[:2])
UNION = "def forward(self, d: {0}) -> {0}:\n    return d\n".format("Dict[str, Union[List[str], Tensor]]")
FLOATS = [{"name": name, "dtype": "float32", "shape": None} for name in ("x", "y")]


# Models by name, in TorchScript itself: every torch reads it, whatever Python it runs on.
SOURCES = {
    "Adding": 'def forward(self, x, y):\n    return {"out": x + y}\n',
    "DictAdding": (
        "def forward(self, tensors: Dict[str, Tensor]) -> Dict[str, Tensor]:\n"
        '    return {"out": tensors["x"] + tensors["y"]}\n'
    ),
    "DictOfStrings": (
        "def forward(self, strings: Dict[str, List[str]]) -> Dict[str, List[str]]:\n"
        '    return {"out": strings["x"]}\n'
    ),
    "Strings": "def forward(self, x: List[str]) -> List[str]:\n    return x\n",
    "Twin": (
        "def forward(self, x: Tensor) -> Tuple[Dict[str, Tensor], Dict[str, Tensor]]:\n"
        '    return {"a": x}, {"b": x + 1}\n'
    ),
    "Doubled": (
        "def forward(self, x: Tensor) -> Tuple[Dict[str, Tensor], Dict[str, Tensor]]:\n"
        '    return {"a": x}, {"a": x + 1}\n'
    ),
    "Plain": "def forward(self, x):\n    return x\n",
    "Pair": "def forward(self, x):\n    return x, x\n",
    "Integers": "def forward(self, x: Tensor) -> List[int]:\n    return [1, 2]\n",
    "InPlace": "def forward(self, x):\n    return x.add_(1)\n",
    "OptionallyWithoutDefault": (
        "def forward(self, x: Tensor, y: Optional[Tensor]) -> Tensor:\n"
        "    return x if y is None else x + torch.jit._unwrap_optional(y)\n"
    ),
    "Optionally": (
        "def forward(self, x: Tensor, y: Optional[Tensor] = None) -> Tensor:\n"
        "    return x if y is None else x + torch.jit._unwrap_optional(y)\n"
    ),
    "Counting": (
        "def forward(self, tensors: Dict[str, Tensor]) -> Dict[str, Tensor]:\n"
        '    return {"out": torch.full([1], float(len(tensors)))}\n'
    ),
    "Mixed": (
        "def forward(self, x: Tensor, s: List[str]) "
        "-> Tuple[Dict[str, Tensor], Dict[str, List[str]], Dict[str, Tensor]]:\n"
        '    return {"a": x, "b": x + 1}, {"s": s}, {"c": x + 2}\n'
    ),
    "Tensors": "def forward(self, x: Tensor) -> List[Tensor]:\n    return [x]\n",
    "NoTensors": "def forward(self, x: Tensor) -> List[Tensor]:\n    return torch.jit.annotate(List[Tensor], [])\n",
    "Strided": (
        "def forward(self, x):\n"
        '    return {"turned": x.t(), "sliced": x[:, 1:2], "expanded": x[:1].expand(4, 3), "one": x[1, 1]}\n'
    ),
    "Sparse": "def forward(self, x):\n    return x.to_sparse()\n",
    "Failing": "def forward(self, x):\n    return torch.mm(x, x)\n",
}


class Weighted(torch.jit.ScriptModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2, 3))

    @torch.jit.script_method
    def forward(self, x):
        return {"weight": self.weight, "turned": (self.weight + x).t()}


class Gradients(torch.jit.ScriptModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    @torch.jit.script_method
    def forward(self, x):
        return torch.ones(1) * float((self.weight * x).requires_grad)


class WithoutForward(torch.jit.ScriptModule):
    @torch.jit.script_method
    def other(self, x):
        return x


def specs(dtype, *names):
    return [{"name": name, "dtype": dtype, "shape": None} for name in names]


def defined(source, weights=1):
    """A module of TorchScript text."""

    class Defined(torch.jit.ScriptModule):  # one of its own: torch keeps a type for each class
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(weights))

    module = Defined()
    module.define(source)
    return module


def named(name):
    return defined(SOURCES[name])


def load(tmp_path, module, inputs, outputs, options=LoadOptions(), **parameters):  # noqa: B008 - immutable
    path = str(tmp_path / "packaged")
    create_torchscript_neuropod(path, "m", inputs, outputs, module=module, package_as_zip=False, **parameters)
    return load_model(read_package(path), options)


@pytest.mark.parametrize("module", ["Adding", "DictAdding"])
def test_inputs_go_by_keyword_or_as_one_dict(tmp_path, module):
    model = load(tmp_path, named(module), FLOATS, specs("float32", "out"))
    x, y = np.float32([[1, 2]]), np.float32([[10], [20]])
    np.testing.assert_array_equal(model.infer({"x": x, "y": y})["out"], x + y)
    assert model.platform_version == torch.__version__


def test_the_finished_package_is_tested_in_a_process_of_its_own(tmp_path):
    sample = {name: np.float32([1]) for name in "xy"}
    load(
        tmp_path,
        named("Adding"),
        FLOATS,
        specs("float32", "out"),
        test_input_data=sample,
        test_expected_out={"out": [2]},
    )
    with pytest.raises(ValueError, match="not the expected ones"):
        create_torchscript_neuropod(
            str(tmp_path / "p"),
            "m",
            FLOATS,
            specs("float32", "out"),
            module=named("Adding"),
            test_input_data=sample,
            test_expected_out={"out": np.float32([3])},
        )


@pytest.mark.parametrize(("module", "output"), [("Strings", "any name"), ("DictOfStrings", "out")])
def test_strings_come_back_as_they_went(tmp_path, module, output):
    model = load(tmp_path, named(module), specs("string", "x"), specs("string", output))
    for strings in (np.array(["a", "", "é 😀"]), np.array([], dtype=np.str_), np.array(["big"], dtype=">U5")):
        result = model.infer({"x": strings})[output]
        assert result.dtype.kind == "U"
        np.testing.assert_array_equal(result, strings)
    with pytest.raises(SpecError, match="strings of one dimension only, not 2"):
        model.infer({"x": np.array([["a"]])})


def test_tuples_of_dicts_are_merged(tmp_path):
    result = load(tmp_path, named("Twin"), FLOATS[:1], specs("float32", "a", "b")).infer({"x": np.float32([1])})
    assert (result["a"], result["b"]) == ([1], [2])


def test_an_output_that_comes_twice_is_an_error(tmp_path):
    model = load(tmp_path, named("Doubled"), FLOATS[:1], specs("float32", "a"))
    with pytest.raises(SpecError, match="output 'a' twice"):
        model.infer({"x": np.float32([1])})


class Result(NamedTuple):
    first: Tensor
    second: Tensor


@pytest.mark.skipif(VERSION < (1, 3), reason="this torch cannot load a saved module that returns a namedtuple")
def test_fields_of_a_namedtuple_are_outputs(tmp_path):
    class Named(torch.jit.ScriptModule):
        @torch.jit.script_method
        def forward(self, x):
            return Result(x, x + 1)

    model = load(tmp_path, Named(), FLOATS[:1], specs("float32", "first", "second"))
    result = model.infer({"x": np.float32([1])})
    assert (result["first"], result["second"]) == ([1], [2])


@pytest.mark.skipif(VERSION < (1, 10), reason="this torch has no Union types")
def test_dicts_may_mix_strings_and_tensors(tmp_path):
    module = defined(
        "def forward(self, d: Dict[str, Union[List[str], Tensor]]) -> Dict[str, Tensor]:\n"
        "    x = d['x']\n    s = d['s']\n"
        "    assert isinstance(x, Tensor)\n    assert isinstance(s, List[str])\n"
        "    return {'out': x + len(s)}\n"
    )
    model = load(tmp_path, module, FLOATS[:1] + specs("string", "s"), specs("float32", "out"))
    assert model.infer({"x": np.float32([1]), "s": np.array(["a", "b"])})["out"] == [3]


@pytest.mark.skipif(VERSION < (1, 10), reason="this torch has no Union types")
def test_a_dict_of_a_union_may_be_what_the_model_returns(tmp_path):
    module = defined(UNION)
    specification = FLOATS[:1] + specs("string", "s")
    model = load(tmp_path, module, specification, specification)
    strings = np.array(["a", "", "é 😀"])
    result = model.infer({"x": np.float32([1]), "s": strings})
    assert result["x"] == [1]
    np.testing.assert_array_equal(result["s"], strings)
    assert model.infer({"s": strings[:0]})["s"].shape == (0,)


@pytest.mark.skipif(VERSION < (1, 10), reason="this torch has no Union types")
def test_a_dict_of_what_no_tensor_can_be_is_a_package_error(tmp_path):
    module = defined("def forward(self, d: Dict[str, Union[int, Tensor]]):\n    return d\n")
    with pytest.raises(PackageError, match="must be tensors, lists of strings, or a Union of both"):
        load(tmp_path, module, FLOATS, FLOATS)


@pytest.mark.parametrize("source", ["def forward(self, x):\n    return x\n", UNION])
def test_a_model_that_is_given_up_gives_its_memory_back(tmp_path, source):
    if source == UNION and VERSION < (1, 10):
        pytest.skip("this torch has no Union types")
    weights = 25 * 10**6
    module = defined(source, weights)
    path = str(tmp_path / "p")
    create_torchscript_neuropod(path, "m", FLOATS[:1], FLOATS[:1], module=module, package_as_zip=False)
    resident = []
    for _ in range(4):
        assert load_model(read_package(path)).infer({"x": np.float32([1])})["x"] == [1]
        gc.collect()
        with open("/proc/self/statm") as file:
            resident.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    assert resident[-1] - resident[0] < weights * np.float32().nbytes


def test_a_worker_has_as_many_threads_as_it_was_started_with_and_an_application_its_own(tmp_path, monkeypatch):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        monkeypatch.setenv("OMP_NUM_THREADS", "1,2")
        module, outputs = named("Adding"), specs("float32", "out")
        load(tmp_path, module, FLOATS, outputs)
        assert torch.get_num_threads() == 3
        load_model(read_package(str(tmp_path / "packaged")), LoadOptions(own_process=True))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_an_input_may_be_left_out_where_the_model_has_a_default_or_takes_a_dict(tmp_path):
    (tmp_path / "dict").mkdir()
    model = load(tmp_path, named("Optionally"), FLOATS, specs("float32", "z"))
    x = np.float32([1])
    assert (model.infer({"x": x})["z"], model.infer({"x": x, "y": x})["z"]) == ([1], [2])
    with pytest.raises(RuntimeError, match="missing value for argument 'x'"):
        model.infer({"y": x})
    (tmp_path / "no default").mkdir()
    model = load(tmp_path / "no default", named("OptionallyWithoutDefault"), FLOATS, specs("float32", "z"))
    assert (model.infer({"x": x})["z"], model.infer({"x": x, "y": x})["z"]) == ([1], [2])
    model = load(tmp_path / "dict", named("Counting"), FLOATS, specs("float32", "out"))
    assert [model.infer(inputs)["out"].tolist() for inputs in ({}, {"y": x}, {"x": x, "y": x})] == [[0], [1], [2]]


def test_tuples_may_mix_dicts_of_tensors_and_of_strings_and_what_is_not_requested_is_dropped(tmp_path):
    outputs = [*specs("float32", "a", "b", "c"), *specs("string", "s")]
    model = load(tmp_path, named("Mixed"), FLOATS[:1] + specs("string", "s"), outputs)
    inputs = {"x": np.float32([1]), "s": np.array(["ü"])}
    assert {name: array.tolist() for name, array in model.infer(inputs).items()} == {
        "a": [1],
        "b": [2],
        "c": [3],
        "s": ["ü"],
    }
    assert {name: array.tolist() for name, array in model.infer(inputs, ["s", "b"]).items()} == {"s": ["ü"], "b": [2]}


def test_a_traced_module_runs(tmp_path):
    traced = torch.jit.trace(torch.nn.Linear(3, 2), torch.ones(1, 3))
    name = traced.forward.schema.arguments[-1].name if VERSION < (1, 3) else "input"
    model = load(tmp_path, traced, specs("float32", name), specs("float32", "z"))
    x = np.random.RandomState(0).rand(5, 3).astype("f4")
    np.testing.assert_allclose(model.infer({name: x})["z"], traced(torch.from_numpy(x)).detach().numpy(), rtol=1e-5)


@pytest.mark.skipif(VERSION < (1, 2), reason="this torch scripts no modules that are not written as ScriptModule")
def test_a_module_with_parts_and_control_flow_is_scripted_and_runs(tmp_path):
    class Layer(torch.nn.Module):
        def forward(self, x):
            # type: (Tensor) -> Tensor
            if bool(x.sum() > 0):
                return x * 2
            return x - 1

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(Layer(), Layer())

        def forward(self, x):
            # type: (Tensor) -> Dict[str, Tensor]
            return {"z": self.layers(x)}

    model = load(tmp_path, torch.jit.script(Network()), FLOATS[:1], specs("float32", "z"))
    assert [model.infer({"x": np.float32([value])})["z"].tolist() for value in (1, -1)] == [[4], [-3]]


def test_a_bare_output_takes_the_only_name(tmp_path):
    model = load(tmp_path, named("Plain"), FLOATS[:1], specs("float32", "z"))
    assert model.infer({"x": np.float32([7])})["z"] == [7]


def test_outputs_that_cannot_be_named_or_held_are_errors(tmp_path):
    for number, (module, outputs, message) in enumerate(
        [
            (named("Plain"), specs("float32", "a", "b"), "returned a Tensor; for 2 outputs it must be a dict"),
            (named("Pair"), specs("float32", "a"), "returned a tuple"),
            (
                named("Integers"),
                specs("int64", "a"),
                "output 'a' must be a tensor or a list of strings, but is a list",
            ),
            (
                named("Tensors"),
                specs("float32", "a"),
                "output 'a' must be a tensor or a list of strings, but is a list",
            ),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        model = load(tmp_path / str(number), module, FLOATS[:1], outputs)
        with pytest.raises(SpecError, match=message):
            model.infer({"x": np.float32([1])})


def test_an_empty_list_is_one_of_strings_only_where_the_spec_says_so(tmp_path):
    for dtype, module in (("string", named("Strings")), ("float32", named("NoTensors"))):
        (tmp_path / dtype).mkdir()
        model = load(tmp_path / dtype, module, specs(dtype, "x"), specs(dtype, "a"))
        x = np.array([], np.str_ if dtype == "string" else dtype)
        if dtype == "string":
            output = model.infer({"x": x})["a"]
            assert (output.dtype.kind, output.shape) == ("U", (0,))
        else:
            with pytest.raises(SpecError, match="output 'a' must be a tensor or a list of strings, but is a list"):
                model.infer({"x": x})


@pytest.mark.skipif(VERSION < (1, 3), reason="sparse tensors do not leave a TorchScript model of this torch")
def test_a_sparse_output_is_an_error_that_says_what_to_do(tmp_path):
    model = load(tmp_path, named("Sparse"), FLOATS[:1], specs("float32", "z"))
    with pytest.raises(SpecError, match="output 'z' is sparse; the model must return it dense"):
        model.infer({"x": np.eye(2, dtype="f4")})


def test_parameters_and_turned_tensors_come_out_contiguous_and_without_gradients(tmp_path):
    model = load(tmp_path, Weighted(), FLOATS[:1], specs("float32", "weight", "turned"))
    result = model.infer({"x": np.array(1, "f4")})
    assert result["turned"].shape == (3, 2)
    assert result["turned"].flags.c_contiguous
    np.testing.assert_array_equal(result["weight"], np.ones((2, 3)))


def test_a_model_runs_without_gradients_whatever_the_callers_mode(tmp_path):
    model = load(tmp_path, Gradients(), FLOATS[:1], specs("float32", "needs"))
    assert model.infer({"x": np.float32([1])})["needs"].tolist() == [0]
    assert torch.is_grad_enabled()


def test_outputs_that_are_views_come_out_contiguous(tmp_path):
    model = load(tmp_path, named("Strided"), FLOATS[:1], specs("float32", "turned", "sliced", "expanded", "one"))
    x = np.arange(6, dtype="f4").reshape(2, 3)
    expected = {"turned": x.T, "sliced": x[:, 1:2], "expanded": np.tile(x[:1], (4, 1)), "one": x[1, 1]}
    for name, array in model.infer({"x": x}).items():
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.skipif(VERSION < (1, 10), reason="in this torch every tensor is what lies in its memory")
def test_outputs_that_are_conjugated_or_negated_lazily_have_the_right_values(tmp_path):
    module = defined(
        "def forward(self, x) -> Dict[str, Tensor]:\n"
        "    return {'conjugate': torch.conj(x), 'negative': torch.imag(torch.conj(x))}\n"
    )
    outputs = specs("complex64", "conjugate") + specs("float32", "negative")
    result = load(tmp_path, module, specs("complex64", "x"), outputs).infer({"x": np.array([1 + 2j], "c8")})
    assert (result["conjugate"].tolist(), result["negative"].tolist()) == ([1 - 2j], [-2])


DTYPES = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", "float16"]
DTYPES += ["complex64", "complex128"] if VERSION >= (1, 8) else []
DTYPES += ["uint16", "uint32", "uint64"] if VERSION >= (2, 3) else []


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_dtypes_and_memory_layouts_arrive_with_the_right_values(tmp_path, dtype):
    model = load(tmp_path, named("Plain"), specs(dtype, "x"), specs(dtype, "z"))
    base = np.array([[0, 1, 2], [1, 0, 1]]).astype(dtype)
    read_only = base.copy()
    read_only.flags.writeable = False
    arrays = [
        base,
        base[0, 0:1].reshape(()),
        base[:, :0],
        base.T,
        base[::-1, ::2],
        base.astype(base.dtype.newbyteorder()),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for array in [*arrays, read_only]:
            result = model.infer({"x": array})["z"]
            assert (result.dtype, result.shape) == (base.dtype, array.shape)
            np.testing.assert_array_equal(result, array)


@pytest.mark.skipif(VERSION >= (2, 3), reason="this torch has all dtypes")
def test_a_dtype_that_this_torch_lacks_is_an_error_that_names_it(tmp_path):
    model = load(tmp_path, named("Plain"), specs("uint16", "x"), specs("uint16", "z"))
    with pytest.raises(SpecError, match=r"input 'x': torch .* has no tensors of uint16"):
        model.infer({"x": np.zeros(2, "u2")})


def test_a_model_that_works_in_place_does_not_write_into_read_only_arrays(tmp_path):
    model = load(tmp_path, named("InPlace"), FLOATS[:1], specs("float32", "z"))
    array = np.float32([1])
    array.flags.writeable = False
    assert model.infer({"x": array})["z"] == [2]
    assert array == [1]


def test_a_module_without_forward_is_a_package_error(tmp_path):
    with pytest.raises(PackageError, match="has no forward method"):
        load(tmp_path, WithoutForward(), FLOATS[:1], specs("float32", "z"))


def test_a_module_that_was_not_scripted_is_a_value_error_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="it must be a ScriptModule"):
        load(tmp_path, torch.nn.Linear(2, 2), FLOATS[:1], specs("float32", "z"))
    assert os.listdir(str(tmp_path)) == []


def test_the_models_own_error_propagates_raw(tmp_path):
    model = load(tmp_path, named("Failing"), FLOATS[:1], specs("float32", "z"))
    with pytest.raises(RuntimeError):
        model.infer({"x": np.zeros((2, 3), "f4")})


def test_a_saved_module_is_packaged_from_its_file_and_saved_weights_are_refused(tmp_path):
    saved, weights = str(tmp_path / "saved.pt"), str(tmp_path / "weights.pt")
    torch.jit.save(named("Plain"), saved)
    torch.save(Weighted().state_dict(), weights)
    path = str(tmp_path / "p")
    arguments = path, "m", FLOATS[:1], specs("float32", "z")
    with pytest.raises(
        ValueError, match=r"must be a file that torch\.jit\.save wrote, of a ScriptModule, and .*weights"
    ):
        create_torchscript_neuropod(*arguments, module_path=weights)
    create_torchscript_neuropod(*arguments, module_path=saved, package_as_zip=False)
    assert load_model(read_package(path)).infer({"x": np.float32([3])})["z"] == [3]


def test_what_torch_cannot_load_is_a_load_error_that_names_versions(tmp_path):
    write_files(tmp_path, {"bad.so": "no library"})
    path = str(tmp_path / "p")
    create_torchscript_neuropod(
        path,
        "m",
        FLOATS,
        FLOATS,
        module=named("Plain"),
        custom_ops=[str(tmp_path / "bad.so")],
        package_as_zip=False,
    )
    write_files(tmp_path / "p" / "0" / "data", {"model.pt": "no model"})
    with pytest.raises(LoadError, match=r"torch .* cannot load the custom op .*bad\.so"):
        load_model(read_package(path))
    with pytest.raises(LoadError, match=r"torch .* cannot load .*model\.pt") as caught:
        load_model(read_package(path), LoadOptions(load_custom_ops=False))
    assert caught.value.remote_type
    os.unlink(path + "/0/data/model.pt")
    with pytest.raises(PackageError, match="has no model at"):
        load_model(read_package(path), LoadOptions(load_custom_ops=False))


@pytest.mark.parametrize("name", ["torchscript_addition_model", "torchscript_strings_model"])
def test_real_old_packages_answer_or_say_what_they_need(name):
    package = open_package(str(fixture_neuropod(name)))
    if VERSION >= (1, 12):
        with pytest.raises(LoadError, match="platform_version_semver should say so"):
            load_model(package)
        return
    model = load_model(package)
    if name == "torchscript_addition_model":
        x = np.float32([[1, 2], [3, 4]])
        np.testing.assert_array_equal(model.infer({"x": x, "y": x})["out"], x + x)
    else:
        result = model.infer({"x": np.array(["hello", "é"]), "y": np.array(["world", "😀"])})["out"]
        assert result.tolist() == ["hello world", "é 😀"]


def test_without_a_gpu_every_visible_gpu_means_the_cpu(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    for gpu in (None, 0, 3):
        (tmp_path / str(gpu)).mkdir()
        model = load(
            tmp_path / str(gpu), named("Plain"), FLOATS[:1], specs("float32", "z"), LoadOptions(visible_gpu=gpu)
        )
        assert model.infer({"x": np.float32([1])})["z"] == [1]


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")


class Where(torch.jit.ScriptModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    @torch.jit.script_method
    def forward(self, x, y):
        return {"out": torch.tensor([x.is_cuda, y.is_cuda, self.weight.is_cuda]), "sum": x + self.weight}


@needs_gpu
def test_model_and_inputs_go_to_the_visible_gpu_but_for_inputs_marked_cpu(tmp_path):
    devices = {"x": "GPU", "y": "CPU"}
    outputs = [*specs("bool", "out"), *specs("float32", "sum")]
    first = load(tmp_path, Where(), FLOATS, outputs, LoadOptions(visible_gpu=0), input_tensor_device=devices)
    on_cpu = load_model(first.package, LoadOptions(visible_gpu=None))
    inputs = {"x": np.float32([1]), "y": np.float32([2])}
    for model, where in ((first, [True, False, True]), (on_cpu, [False, False, False])):
        result = model.infer(inputs)
        assert result["out"].tolist() == where
        assert result["sum"] == [2]


@needs_gpu
def test_a_gpu_that_is_not_there_is_a_load_error(tmp_path):
    with pytest.raises(LoadError, match="there is no GPU 99; torch sees"):
        load(tmp_path, named("Plain"), FLOATS[:1], specs("float32", "z"), LoadOptions(visible_gpu=99))


@needs_gpu
def test_the_finished_package_is_tested_on_the_gpu(tmp_path):
    sample = {name: np.float32([1]) for name in "xy"}
    outputs = [*specs("bool", "out"), *specs("float32", "sum")]
    expected = {"out": [True, True, True]}
    load(tmp_path, Where(), FLOATS, outputs, test_input_data=sample, test_expected_out=expected)
