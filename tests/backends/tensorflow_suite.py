"""TensorFlow models under the TensorFlow of this interpreter; tests/matrix runs it under several."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from environments_for_tests import fixture_neuropod

from neuropod_worker.backends import LoadOptions, load_model
from neuropod_worker.errors import LoadError, PackageError, SpecError
from neuropod_worker.package import open_package, read_package
from neuropod_worker.packagers import create_tensorflow_neuropod

v1 = getattr(tf.compat, "v1", tf)
IS_2 = tf.__version__.startswith("2.")
needs_tf2 = pytest.mark.skipif(not IS_2, reason="tf.saved_model.save is a matter of TensorFlow 2")


def specs(dtype, *names):
    return [{"name": name, "dtype": dtype, "shape": None} for name in names]


FLOATS, OUT = specs("float32", "x", "y"), specs("float32", "out")
ADDING = {"x": "some/in_x:0", "y": "some/in_y", "out": "some/out:0"}
X = np.float32([[1, 2], [3, 4]])


def graph_def(build):
    with v1.Graph().as_default() as graph:
        build()
        return graph.as_graph_def()


def adding():
    with v1.name_scope("some"):
        x, y = (v1.placeholder(tf.float32, name=name) for name in ("in_x", "in_y"))
        v1.add(x, y, name="out")


def package(tmp_path, inputs=FLOATS, outputs=OUT, **parameters):
    path = str(tmp_path / "packaged")
    create_tensorflow_neuropod(path, "m", inputs, outputs, package_as_zip=False, **parameters)
    return read_package(path)


def load(tmp_path, build, mapping, inputs=FLOATS, outputs=OUT, **parameters):
    return load_model(
        package(tmp_path, inputs, outputs, graph_def=graph_def(build), node_name_mapping=mapping, **parameters)
    )


def test_a_graph_runs_with_names_with_and_without_an_output_number(tmp_path):
    model = load(tmp_path, adding, ADDING)
    for y in (X, X.T, X.astype(">f4"), X[:0], np.float32(5)):
        x = X if y.size else y
        for _ in range(3):
            output = model.infer({"x": x, "y": y})["out"]
            np.testing.assert_array_equal(output, x + y)
            assert output.dtype == np.float32
    assert model.platform_version == tf.__version__


def test_a_graph_is_packaged_from_a_file_and_tested_in_a_process_of_its_own(tmp_path):
    (tmp_path / "graph.pb").write_bytes(graph_def(adding).SerializeToString())
    parameters = {
        "frozen_graph_path": str(tmp_path / "graph.pb"),
        "node_name_mapping": ADDING,
        "test_input_data": {"x": X, "y": X},
    }
    model = load_model(package(tmp_path, test_expected_out={"out": X * 2}, **parameters))
    np.testing.assert_array_equal(model.infer({"x": X, "y": X})["out"], X * 2)
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="not the expected ones"):
        package(tmp_path / "other", test_expected_out={"out": X}, **parameters)


def test_the_process_stays_as_eager_as_it_was(tmp_path):
    before = tf.executing_eagerly(), v1.get_default_graph()
    load(tmp_path, adding, ADDING).infer({"x": X, "y": X})
    assert (tf.executing_eagerly(), v1.get_default_graph()) == before


def test_strings_of_any_rank_cross_as_utf_8(tmp_path):
    def join():
        x, y = (v1.placeholder(tf.string, name=name) for name in "xy")
        v1.identity(v1.string_join([x, y], separator=" "), name="out")

    mapping = {name: name for name in ("x", "y", "out")}
    model = load(tmp_path, join, mapping, specs("string", "x", "y"), specs("string", "out"))
    words = np.array([["é", "", "😀 a"]])
    for x in (words, words[0], words[0, 0], words[:, :0], words.astype(">U5"), words, np.char.add(words, "ü")):
        output = model.infer({"x": x, "y": x})["out"]
        assert output.dtype.kind == "U"
        assert output.tolist() == np.char.add(np.char.add(x, " "), x).tolist()


def test_strings_that_are_no_text_are_a_spec_error(tmp_path):
    def raw():
        v1.identity(v1.constant([b"\xff"]), name="out")

    model = load(tmp_path, raw, {"out": "out"}, [], specs("string", "out"))
    with pytest.raises(SpecError, match="output 'out' has a string that is not UTF-8"):
        model.infer({})


@pytest.mark.parametrize(
    "dtype",
    [
        *("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("bool", "complex64", "complex128"),
    ],
)
def test_every_dtype_comes_back_as_it_went(tmp_path, dtype):
    def same():
        v1.identity(v1.placeholder(getattr(tf, dtype), name="x"), name="out")

    model = load(tmp_path, same, {"x": "x", "out": "out"}, specs(dtype, "x"), specs(dtype, "out"))
    numbers = np.array([0, 1, 100], dtype)
    layouts = numbers, numbers[::-1], numbers.reshape(3, 1), numbers[:0], numbers[1].reshape(())
    for x in (*layouts, numbers.astype(numbers.dtype.newbyteorder())):
        output = model.infer({"x": x})["out"]
        assert output.dtype == numbers.dtype
        np.testing.assert_array_equal(output, x)


def test_what_is_not_asked_for_is_not_computed_and_needs_no_input(tmp_path):
    def two():
        x, y = (v1.placeholder(tf.float32, name=name) for name in "xy")
        v1.multiply(x, 2.0, name="a")
        v1.add(x, y, name="b")

    model = load(tmp_path, two, {name: name for name in "xyab"}, outputs=specs("float32", "a", "b"))
    for x in map(np.float32, (1, 5)):
        y = np.float32(2)
        assert model.infer({"x": x}, ["a"]) == {"a": 2 * x}
        assert model.infer({"x": x, "y": y}, []) == {}
        assert model.infer({"x": x, "y": y}) == {"a": 2 * x, "b": x + 2}
        assert list(model.infer({"y": y, "x": x}, ["b", "a"]).values()) == [x + 2, 2 * x]
        with pytest.raises(Exception, match=r"(?s)placeholder.*y"):
            model.infer({"x": x})


def test_a_missing_input_takes_the_graphs_default(tmp_path):
    def default():
        v1.identity(v1.placeholder_with_default(np.float32([7]), (None,), name="x"), name="out")

    model = load(tmp_path, default, {"x": "x", "out": "out"}, FLOATS[:1])
    assert model.infer({}) == {"out": [7]}
    assert model.infer({"x": np.float32([1])}) == {"out": [1]}


def accumulator():
    x = v1.placeholder(tf.float32, (), name="x")
    total = v1.get_variable("total", initializer=v1.constant(10.0), use_resource=True)
    v1.variables_initializer([total], name="init")
    v1.identity(total.assign_add(x), name="out")


def test_init_ops_run_once(tmp_path):
    mapping = {"x": "x", "out": "out"}
    model = load(tmp_path, accumulator, mapping, FLOATS[:1], init_op_names=["init"])
    assert [float(model.infer({"x": np.float32(5)})["out"]) for _ in range(2)] == [15, 20]


def test_init_ops_of_old_packages_are_an_empty_dict(tmp_path):
    made = package(tmp_path, graph_def=graph_def(adding), node_name_mapping=ADDING)
    with open(made.file("config.json")) as file:
        assert json.load(file) == {"node_name_mapping": ADDING, "init_op_names": []}
    model = load_model(rewritten(made, init_op_names={}))
    np.testing.assert_array_equal(model.infer({"x": X, "y": X})["out"], X * 2)


def rewritten(made, **changes):
    """The package after its ``0/config.json`` was changed."""
    with open(made.file("config.json")) as file:
        config = json.load(file)
    with open(made.file("config.json"), "w") as file:
        json.dump(dict(config, **changes), file)
    return made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"node_name_mapping": ["x"]}, r"0/config\.json 'node_name_mapping' must be a dict of nodes by name"),
        ({"init_op_names": 5}, r"0/config\.json 'init_op_names' must be a list of names of ops, not 5"),
        ({"node_name_mapping": {"x": "some/in_x"}}, "has no tensor for 'y' of the spec; its mapping .* names x$"),
        ({"node_name_mapping": dict(ADDING, out="nowhere")}, "no tensor nowhere:0, which node_name_mapping names"),
        ({"node_name_mapping": dict(ADDING, out="some/out:1")}, "no tensor some/out:1, which node_name_mapping"),
        ({"node_name_mapping": dict(ADDING, out="some/out:x")}, "no tensor some/out:x, which node_name_mapping"),
        ({"init_op_names": ["nowhere"]}, "the graph lacks an op of init_op_names: .*nowhere"),
    ],
)
def test_wrong_names_in_a_package_are_a_package_error(tmp_path, changes, message):
    made = package(tmp_path, graph_def=graph_def(adding), node_name_mapping=ADDING)
    with pytest.raises(PackageError, match=message):
        load_model(rewritten(made, **changes))


def test_names_may_be_those_of_further_outputs_of_a_node(tmp_path):
    def split():
        v1.split(v1.placeholder(tf.float32, (3, 2), name="x"), 3, name="parts")

    mapping = {"x": "x", "a": "parts:1", "b": "parts:2", "first": "parts"}
    model = load(tmp_path, split, mapping, FLOATS[:1], specs("float32", "a", "b", "first"))
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    for _ in range(2):
        outputs = model.infer({"x": x})
        assert [outputs[name].tolist() for name in ("first", "a", "b")] == [[[0, 1]], [[2, 3]], [[4, 5]]]


def test_the_callers_arrays_stay_as_they_are(tmp_path):
    def in_place():
        v1.negative(v1.placeholder(tf.float32, name="x"), name="out")

    model = load(tmp_path, in_place, {"x": "x", "out": "out"}, FLOATS[:1])
    x = np.ones(100000, np.float32)
    first, second = (model.infer({"x": x})["out"] for _ in range(2))
    assert (x == 1).all()
    x[:] = 2
    assert (first == -1).all()
    assert (second == -1).all()


def test_what_the_graph_cannot_take_is_an_error_on_every_call(tmp_path):
    def pairs():
        v1.identity(v1.placeholder(tf.float32, (None, 2), name="x"), name="out")

    model = load(tmp_path, pairs, {"x": "x", "out": "out"}, FLOATS[:1])
    for _ in range(3):
        with pytest.raises(ValueError, match=r"(?s)shape.*\(1, 3\)"):
            model.infer({"x": np.ones((1, 3), np.float32)})
        np.testing.assert_array_equal(model.infer({"x": X})["out"], X)


def test_numbers_of_another_dtype_than_the_graphs_are_converted_on_every_call(tmp_path):
    def double():
        v1.add(v1.placeholder(tf.float64, name="x"), 1, name="out")

    model = load(tmp_path, double, {"x": "x", "out": "out"}, FLOATS[:1], specs("float64", "out"))
    for x in (X, X + 1, X + 2):
        output = model.infer({"x": x})["out"]
        np.testing.assert_array_equal(output, x + 1)
        assert output.dtype == np.float64


def test_two_names_of_one_tensor_and_an_output_that_is_an_input(tmp_path):
    def two():
        v1.negative(v1.placeholder(tf.float32, name="x"), name="out")

    mapping = {"x": "x", "same": "x:0", "out": "out", "again": "out:0"}
    model = load(tmp_path, two, mapping, FLOATS[:1], specs("float32", "same", "out", "again"))
    for x in map(np.float32, (1, 2, 3)):
        assert model.infer({"x": x}) == {"same": x, "out": -x, "again": -x}


def test_threads_call_at_the_same_time(tmp_path):
    model = load(tmp_path, adding, ADDING)

    def calls(number):
        rows = [np.full((size, 2), number, np.float32) for size in (1, 2, 3)]
        return all((model.infer({"x": x, "y": X[:1]})["out"] == number + X[:1]).all() for x in rows * 50)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(calls, range(16)))


def saved_model(path, key="serving_default"):
    """A SavedModel with a variable, as TensorFlow 1 makes them."""
    with v1.Graph().as_default(), v1.Session() as session:
        x, y = (v1.placeholder(tf.float32, name="given_" + name) for name in "xy")
        offset = v1.get_variable("offset", initializer=v1.constant(100.0))
        v1.group(v1.assign_add(offset, 1.0), name="more")
        out = v1.identity(x + y + offset, name="internal")
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.builder.SavedModelBuilder(path)
        signature = v1.saved_model.signature_def_utils.predict_signature_def(
            {"x": x, "y": y}, {"out": out, "other": x * 2}
        )
        builder.add_meta_graph_and_variables(session, ["serve"], {key: signature})
        builder.save()
    return path


def test_a_saved_model_runs_by_the_names_of_its_signature(tmp_path):
    path = saved_model(str(tmp_path / "saved"))
    model = load_model(package(tmp_path, saved_model_dir=path, test_input_data={"x": X, "y": X}))
    np.testing.assert_array_equal(model.infer({"x": X, "y": X})["out"], X * 2 + 100)


def test_init_ops_run_once_with_a_saved_model_too(tmp_path):
    path = saved_model(str(tmp_path / "saved"))
    made = package(tmp_path, saved_model_dir=path, init_op_names=["more"])
    model = load_model(made)
    for _ in range(2):
        np.testing.assert_array_equal(model.infer({"x": X, "y": X})["out"], X * 2 + 101)


@needs_tf2
def test_an_object_is_saved_and_runs_by_its_signature(tmp_path):
    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.offset = tf.Variable(100.0)
            init = tf.lookup.KeyValueTensorInitializer(["a", "é"], [1, 2])
            self.table = tf.lookup.StaticHashTable(init, -1)

        @tf.function(
            input_signature=[tf.TensorSpec(None, tf.float32, name="x"), tf.TensorSpec([None], tf.string, name="s")]
        )
        def __call__(self, x, s):
            return {"out": x + self.offset, "looked_up": self.table.lookup(s), "s": s}

    inputs = FLOATS[:1] + specs("string", "s")
    outputs = OUT + specs("int32", "looked_up") + specs("string", "s")
    model = load_model(package(tmp_path, inputs, outputs, trackable_obj=Model()))
    result = model.infer({"x": X, "s": np.array(["é", "?"])})
    np.testing.assert_array_equal(result["out"], X + 100)
    assert result["looked_up"].tolist() == [2, -1]
    assert result["s"].tolist() == ["é", "?"]


def test_what_cannot_be_saved_is_a_value_error_and_leaves_nothing(tmp_path):
    with pytest.raises(PackageError, match="trackable_obj cannot be saved as a SavedModel"):
        package(tmp_path, trackable_obj=5)
    assert list(tmp_path.iterdir()) == []


def test_what_tensorflow_cannot_load_is_a_load_error_that_names_versions(tmp_path):
    path = package(tmp_path, graph_def=graph_def(adding), node_name_mapping=ADDING).file("data", "model.pb")
    with open(path, "wb") as file:
        file.write(b"no graph")
    with pytest.raises(LoadError, match=r"TensorFlow .* cannot load .*model\.pb") as caught:
        load_model(read_package(str(tmp_path / "packaged")))
    assert caught.value.remote_type


def test_a_custom_op_that_is_none_is_a_load_error(tmp_path):
    (tmp_path / "op.so").write_text("no library")
    made = package(
        tmp_path, graph_def=graph_def(adding), node_name_mapping=ADDING, custom_ops=[str(tmp_path / "op.so")]
    )
    with pytest.raises(LoadError, match=r"TensorFlow .* cannot load the custom op .*op\.so"):
        load_model(made)
    load_model(made, LoadOptions(load_custom_ops=False))


def test_a_real_old_package_answers():
    model = load_model(open_package(str(fixture_neuropod("tf_addition_model"))))
    np.testing.assert_array_equal(model.infer({"x": X, "y": X})["out"], X * 2)


def test_without_a_gpu_every_visible_gpu_means_the_cpu(tmp_path):
    if v1.test.is_gpu_available():
        pytest.skip("this machine has a GPU")
    made = package(tmp_path, graph_def=graph_def(adding), node_name_mapping=ADDING)
    for gpu in (None, 0, 3):
        model = load_model(made, LoadOptions(visible_gpu=gpu))
        np.testing.assert_array_equal(model.infer({"x": X, "y": X})["out"], X * 2)


COUNTS_THREADS = """
import os, sys
import numpy as np
from neuropod_worker.backends import LoadOptions, load_model
from neuropod_worker.package import read_package
x = np.float32([1])
load_model(read_package(sys.argv[1]), LoadOptions(own_process=True)).infer({"x": x, "y": x})
print(len(os.listdir("/proc/self/task")))
"""


def test_a_worker_has_as_many_threads_as_it_was_started_with(tmp_path):
    load(tmp_path, adding, ADDING)

    def threads(given):
        command = [sys.executable, "-c", COUNTS_THREADS, str(tmp_path / "packaged")]
        others = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # numpy's, which are not counted so
        environ = {**os.environ, **others, "OMP_NUM_THREADS": str(given)}
        return int(subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True).stdout)

    assert threads(12) - threads(1) >= 11
