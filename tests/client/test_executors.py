"""The contract of a model handle, whatever runs the model."""

import gc
import pickle
import threading

import numpy as np
import pytest

from neuropod_ope import HandleClosed, LoadError, ModelError, NeuropodError, PackageError, SpecError, TensorSpec
from neuropod_worker.problem.dtypes import DTYPES

pytestmark = pytest.mark.workers


ANY = ("float32", None)
ECHO = "def load(data_dir):\n    return lambda **inputs: {name + '_out': value for name, value in inputs.items()}\n"


def echo(load, **tensors):
    """A model that returns each input x as x_out."""
    return load(ECHO, tensors, {name + "_out": spec for name, spec in tensors.items()})


SHAPES = [(), (0,), (3, 0, 2), (1,), (5,), (2, 3, 4), (300, 1001)]


@pytest.mark.parametrize("dtype", sorted(DTYPES - {"string"}))
def test_arrays_of_every_dtype_and_shape_come_back_equal(load_in_executors, dtype):
    model = echo(load_in_executors, x=(dtype, None))
    for shape in SHAPES:
        sent = (np.arange(np.prod(shape)) % 7).reshape(shape).astype(dtype)
        for _ in range(3):
            came = model.infer({"x": sent})["x_out"]
            assert came.dtype == sent.dtype
            assert came.shape == shape
            assert (came == sent).all()


def test_arrays_of_any_layout_come_back_equal(load_in_executors):
    model = echo(load_in_executors, x=("int32", None))
    base = np.arange(60_000, dtype=np.int32).reshape(200, 300)
    for sent in (base.T, base[::3, ::-2], base.astype(">i4"), np.asfortranarray(base), base[:, :0], base[7]):
        came = model.infer({"x": sent})["x_out"]
        assert (came == sent).all()
        assert came.dtype == np.int32


@pytest.mark.parametrize("shape", [(), (4,), (2, 2), (0, 3)])
def test_strings_of_any_rank_come_back_equal(load_in_executors, shape):
    model = echo(load_in_executors, x=("string", None))
    some = ["", "straße", "日本語", "👩‍🚀 to the 🌍"][: int(np.prod(shape))]
    texts = np.array(some, dtype=np.str_).reshape(shape)
    for sent in (texts, texts.astype(object)):
        came = model.infer({"x": sent})["x_out"]
        assert came.shape == shape
        assert came.dtype.kind == "U"
        assert came.tolist() == texts.tolist()


def test_anything_that_holds_numbers_can_be_an_input(load_in_executors):
    class OnlyDLPack:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    model = echo(load_in_executors, x=ANY)
    values = np.array([1, 2, 3], np.float32)
    for sent in (
        values,
        memoryview(values),
        OnlyDLPack(values),
        [1, 2, 3],
        (1.0, 2.0, 3.0),
        values.view(np.matrix)[0],
    ):
        assert model.infer({"x": sent})["x_out"].ravel().tolist() == [1, 2, 3]
    assert model.infer({"x": 5})["x_out"] == 5
    assert model.infer({"x": np.float32(5)})["x_out"] == 5


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "Python objects"),
        ([1, "a", None], "Python objects"),
        ([[1, 2], [3]], "cannot be made an array"),
        (np.zeros(3, "datetime64[s]"), "not supported"),
        (b"abc", "give text"),
        (np.zeros(3), "dtype should be float32, but is float64"),
        (["a"], "dtype should be float32, but is string"),
        ([1e300], "float64"),
    ],
)
def test_what_cannot_be_an_input_is_named(load_in_executors, value, says):
    model = echo(load_in_executors, x=ANY)
    with pytest.raises(SpecError, match=says) as caught:
        model.infer({"x": value})
    assert "'x'" in str(caught.value)
    assert model.infer({"x": [1]})["x_out"] == [1]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", [1, 255]),
        ("uint64", [2**63 - 1, 0]),
        ("bool", [True, False]),
        ("bool", [1, 0]),
        ("complex64", [1 + 2j, 3]),
        ("float16", [0.1, 1, float("inf"), float("nan")]),
        ("string", []),
        ("int8", []),
        ("float32", 5),
    ],
)
def test_pythons_numbers_take_the_declared_dtype(load_in_executors, dtype, value):
    model = echo(load_in_executors, x=(dtype, None))
    came = model.infer({"x": value})["x_out"]
    expected = np.array(value, dtype="U" if dtype == "string" else dtype)
    assert came.dtype.kind == expected.dtype.kind
    np.testing.assert_array_equal(came, expected)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", [-1]),
        ("int8", [300]),
        ("bool", [2]),
        ("int32", [1.5]),
        ("float16", [1e-10]),
        ("float32", [1e300]),
        ("float32", [1j]),
        ("string", [1]),
        ("float64", np.ma.masked_array([1.0, 2.0], [True, False])),
    ],
)
def test_what_the_declared_dtype_cannot_hold_is_an_error(load_in_executors, dtype, value):
    with pytest.raises(SpecError, match="'x'"):
        echo(load_in_executors, x=(dtype, None)).infer({"x": value})


def test_text_that_utf8_cannot_carry_is_an_error_out_of_process_and_the_model_goes_on(load_out_of_process):
    model = echo(load_out_of_process, x=("string", None))
    with pytest.raises(SpecError, match="UTF-8"):
        model.infer({"x": ["\ud800"]})
    assert model.infer({"x": ["fine"]})["x_out"] == ["fine"]


@pytest.mark.parametrize(("value", "decode"), [(b"a", "x.decode()"), ([b"a"], "np.char.decode(x)")])
def test_bytes_for_text_are_an_error_that_says_how_to_make_it_text(load_in_executors, value, decode):
    with pytest.raises(SpecError) as caught:
        echo(load_in_executors, x=("string", None)).infer({"x": value})
    assert str(caught.value) == f"input 'x' holds bytes, which may be in any encoding: give text, {decode}"


def test_a_model_is_not_pickled_and_says_what_to_send(load_in_executors):
    model = echo(load_in_executors, x=ANY)
    with pytest.raises(TypeError, match="send the path of its package and load it there"):
        pickle.dumps(model)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"z": np.zeros((2, 3), "f4")}, "there is no input 'z'; the model's inputs are 'x', 'y'"),
        ({"x": np.zeros((2, 3), "f8")}, "input 'x': dtype should be float32, but is float64"),
        ({"x": np.zeros(3, "f4")}, "input 'x': should have 2 dimensions (n, 3), but has 1: (3,)"),
        ({"x": np.zeros((2, 4), "f4")}, "input 'x': dimension 1 should be 3, but is 4"),
        ({"x": np.zeros((2, 3), "f4"), "y": np.zeros(5, "f4")}, "dimension 0 should be 2 (the symbol 'n'"),
    ],
)
def test_inputs_that_do_not_fit_are_named_with_what_was_expected(load_in_executors, inputs, says):
    model = load_in_executors(
        ECHO, {"x": ("float32", ("n", 3)), "y": ("float32", ("n",))}, {"x_out": ANY, "y_out": ANY}
    )
    with pytest.raises(ValueError) as caught:
        model.infer(inputs)
    assert says in str(caught.value)
    assert isinstance(caught.value, SpecError)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ("{'x': x.astype('f8')}", "the model returned output 'x': dtype should be float32, but is float64"),
        ("{'x': x[None]}", "output 'x': should have 1 dimensions (2), but has 2"),
        ("{'more': x, 'x': x}", "the model returned 'more', which is no output of its problem definition: 'x'"),
        ("x", "must return a dict"),
        ("{'x': object()}", "output 'x'"),
    ],
)
def test_outputs_that_do_not_fit_are_named_and_the_model_goes_on(load_in_executors, returned, says):
    code = f"def load(data_dir):\n    return lambda x: {{'x': x}} if x[0] else {returned}\n"
    model = load_in_executors(code, {"x": ("float32", (2,))}, {"x": ("float32", (2,))})
    for _ in range(2):
        with pytest.raises(SpecError) as caught:
            model.infer({"x": np.zeros(2, "f4")})
        assert says in str(caught.value)
        assert model.infer({"x": np.ones(2, "f4")})["x"].tolist() == [1, 1]


def test_without_validation_tensors_pass_as_they_are(load_in_executors):
    code = "def load(data_dir):\n    return lambda x: {'x': x * 2}\n"
    model = load_in_executors(code, {"x": ("float32", (2,))}, {"x": ("float32", (2,))}, validate=False)
    assert model.infer({"x": np.arange(3)})["x"].tolist() == [0, 2, 4]


def test_the_inputs_left_out_are_the_models_affair(load_in_executors):
    code = "def load(data_dir):\n    return lambda x, y=10.0: {'sum': x + y}\n"
    model = load_in_executors(code, {"x": ("float64", None), "y": ("float64", None)}, {"sum": ("float64", None)})
    assert model.infer({"x": [1.0]})["sum"] == [11]
    assert model.infer({"x": [1.0], "y": [2.0]})["sum"] == [3]
    says = r"missing 1 required positional argument: 'x' \(not given: {}\)\nTraceback"
    with pytest.raises(ModelError, match=says.format("'x', 'y'")) as caught:
        model.infer({})
    assert caught.value.remote_message.endswith("positional argument: 'x'")
    with pytest.raises(ModelError, match=says.format("'x'")):
        model.submit({"y": [1.0]}).result()


def test_requested_outputs_select_a_subset(load_in_executors):
    model = echo(load_in_executors, x=ANY, y=ANY)
    inputs = {"x": [1.0], "y": [2.0]}
    assert set(model.infer(inputs)) == {"x_out", "y_out"}
    assert set(model.infer(inputs, ["y_out"])) == {"y_out"}
    assert model.infer(inputs, requested_outputs=[]) == {}
    with pytest.raises(SpecError, match="there is no output 'z'; the model's outputs are 'x_out', 'y_out'"):
        model.infer(inputs, ["z"])
    with pytest.raises(SpecError, match="list of names"):
        model.infer(inputs, "y_out")


RAISES = """
class Strange(Exception):
    def __str__(self):
        raise RuntimeError("no")

def load(data_dir):
    def run(kind):
        if kind == "plain": raise KeyError("missing thing")
        if kind == "huge": raise ValueError("x" * 1_000_000)
        if kind == "strange": raise Strange()
        if kind == "letters": raise ValueError("\\ud800 👩‍🚀")
        if kind == "exit": raise SystemExit(3)
        return {"kind": kind}
    return run
"""


@pytest.mark.parametrize(
    ("kind", "remote_type"),
    [
        ("plain", "KeyError"),
        ("huge", "ValueError"),
        ("strange", "Strange"),
        ("letters", "ValueError"),
        ("exit", "SystemExit"),
    ],
)
def test_the_models_own_exception_arrives_with_its_traceback_and_the_model_goes_on(
    load_in_executors, kind, remote_type
):
    model = load_in_executors(RAISES, {"kind": ("string", ())}, {"kind": ("string", ())})
    for _ in range(2):
        with pytest.raises(ModelError) as caught:
            model.infer({"kind": kind})
        assert caught.value.remote_type.endswith(remote_type)
        assert "in run" in caught.value.remote_traceback
        assert "sample" in str(caught.value)
        assert model.infer({"kind": "fine"})["kind"] == "fine"
    assert not any(worker.restarts for worker in model.workers)


def test_a_model_that_cannot_be_loaded_says_which_one_and_why(load_in_executors):
    path = load_in_executors.package("import nowhere_to_be_found\n", {"x": ANY}, {"x": ANY}, package_as_zip=True)
    with pytest.raises(
        LoadError, match=f"model 'sample' of {path}: .*'nowhere_to_be_found'; add .* to the"
    ) as caught:
        load_in_executors.load(path)
    assert str(load_in_executors.runtime.policy.cache_dir) not in str(caught.value)
    assert caught.value.remote_type.endswith("ModuleNotFoundError")
    assert "main.py" in caught.value.remote_traceback


def test_a_package_whose_entry_point_is_none_says_which_one(load_in_executors):
    path = load_in_executors.package("load = 5\n", {"x": ANY}, {"x": ANY}, package_as_zip=True)
    with pytest.raises(
        PackageError, match=f"model 'sample' of {path}: the entry point model.main.load is not"
    ) as caught:
        load_in_executors.load(path)
    assert caught.value.path.startswith(str(load_in_executors.runtime.policy.cache_dir))


def test_a_handle_tells_the_problem(load_in_executors):
    model = load_in_executors(ECHO, {"x": ("float32", ("n", None, 3))}, {"x_out": ANY})
    assert model.name == "sample"
    assert model.platform == "python"
    assert model.inputs == (TensorSpec("x", "float32", ("n", None, 3)),)
    assert model.outputs == (TensorSpec("x_out", "float32", None),)
    assert "sample" in repr(model) and "python" in repr(model) and "ready" in repr(model)


def test_a_lazy_model_is_loaded_when_it_is_asked_to_be_or_first_called(load_in_executors):
    model = load_in_executors("raise ValueError('loaded')", {"x": ANY}, {"x_out": ANY}, lazy=True)
    assert "new" in repr(model)
    with pytest.raises(LoadError, match="loaded"):
        model.load()
    with pytest.raises(LoadError, match="loaded"):
        model.infer({"x": [1]})
    working = load_in_executors(ECHO, {"x": ANY}, {"x_out": ANY}, lazy=True)
    assert working.infer({"x": [1]})["x_out"] == [1]
    working.load()


def test_a_closed_model_says_so(load_in_executors):
    model = echo(load_in_executors, x=ANY)
    with model:
        assert model.infer({"x": [1]})["x_out"] == [1]
    model.close()
    for call in (model.load, lambda: model.infer({"x": [1]})):
        with pytest.raises(HandleClosed, match="closed"):
            call()
    assert model.workers == ()
    assert "closed" in repr(model)


def test_a_model_nobody_refers_to_closes_itself(load_in_executors):
    echo(load_in_executors, x=ANY).infer({"x": [1]})
    gc.collect()  # what is left is looked at after each test


def test_many_threads_may_call_one_model(load_in_executors):
    model = echo(load_in_executors, x=("int64", None))
    wrong = []

    def call(number):
        for size in (1, 50, 20_000):
            for _ in range(30):
                sent = np.full(size, number)
                if not (model.infer({"x": sent})["x_out"] == sent).all():
                    wrong.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_default_timeout_needs_a_worker(tmp_path, load_out_of_process):
    model = echo(load_out_of_process, x=ANY)
    assert model.infer({"x": [1]}, timeout=30)["x_out"] == [1]
    package = load_out_of_process.package(ECHO, {"x": ANY}, {"x_out": ANY})
    here = load_out_of_process.runtime.load(package, out_of_process=False)
    with pytest.raises(NeuropodError, match="out_of_process=True"):
        here.infer({"x": [1]}, timeout=30)


def test_what_a_model_prints_goes_to_the_log_of_that_model(load_out_of_process, caplog):
    caplog.set_level("INFO")
    code = "import os, sys\ndef load(data_dir):\n    print('loading ünï')\n    def run(x):\n"
    code += (
        "        os.write(1, b'raw \\xff\\n'); print('to stderr', file=sys.stderr); return {'x': x}\n    return run\n"
    )
    model = load_out_of_process(code, {"x": ANY}, {"x": ANY})
    model.infer({"x": [1]})
    model.close()
    said = [(r.name, r.levelname, r.getMessage()) for r in caplog.records if r.name.endswith("model.sample")]
    name = "neuropod_ope.model.sample"
    assert (name, "INFO", "loading ünï") in said
    assert (name, "INFO", "raw \ufffd") in said
    assert (name, "WARNING", "to stderr") in said
