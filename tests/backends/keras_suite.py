"""Keras models are packaged under the Keras of this interpreter; test_keras_models runs it with several."""

import numpy as np
import pytest
import tensorflow as tf

from neuropod_worker.backends import load_model
from neuropod_worker.errors import PackageError, SpecError
from neuropod_worker.package import read_package
from neuropod_worker.packagers import create_keras_neuropod
from neuropod_worker.problem.checks import check_inputs

v1 = getattr(tf.compat, "v1", tf)
KERAS = {"tf.keras": tf.keras}
try:
    import keras as standalone
except ImportError:
    pass  # TensorFlow 1 brings its own and no other
else:
    if standalone.Model is not tf.keras.Model:
        KERAS["keras"] = standalone

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras warns of its own age
NUMBERS = np.random.RandomState(3)
eager = pytest.mark.skipif(not tf.executing_eagerly(), reason="only Keras in TensorFlow 2 has these")


@pytest.fixture(params=sorted(KERAS))
def keras(request):
    found = KERAS[request.param]
    found.backend.clear_session()
    return found


@pytest.fixture
def layers(keras):
    return keras.layers


def version(keras):
    return getattr(keras, "__version__", "2")  # the one inside TensorFlow 2.15 does not say


def session_of(keras):
    """Where the weights are: in TensorFlow 2 in the model itself."""
    if tf.executing_eagerly():
        return None
    return keras.backend.get_session() if keras is not tf.keras else v1.keras.backend.get_session()


def package(tmp_path, keras, model, **parameters):
    path = str(tmp_path / "packaged")
    arguments = {"sess": session_of(keras), "package_as_zip": False}
    arguments.update(parameters)
    create_keras_neuropod(path, "a Keras model", model=model, **arguments)
    return read_package(path)


def specs(tensors):
    return [tuple(spec) for spec in tensors]


def two_in_two_out(keras, layers):
    a, b = layers.Input((4,), name="in_a"), layers.Input((None,), dtype="int32", name="in_b")
    dense = layers.Dense(3, name="out_a")(a)
    embedded = layers.Embedding(10, 2, name="out_b")(b)
    return keras.Model([a, b], [dense, embedded])


A, B = NUMBERS.rand(5, 4).astype("float32"), NUMBERS.randint(0, 10, (5, 2)).astype("int32")


def test_names_and_specs_are_those_of_the_model(tmp_path, keras, layers):
    model = two_in_two_out(keras, layers)
    made = package(tmp_path, keras, model)
    assert made.platform == "tensorflow"
    assert specs(made.inputs) == [
        ("in_a", "float32", ("batch_size", 4)),
        ("in_b", "int32", ("batch_size", None)),
    ]
    assert specs(made.outputs) == [
        ("out_a", "float32", ("batch_size", 3)),
        ("out_b", "float32", ("batch_size", None, 2)),
    ]
    outputs = load_model(made).infer({"in_a": A, "in_b": B})
    for name, expected in zip(("out_a", "out_b"), model.predict([A, B])):
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-5)


def test_a_mapping_renames_what_it_mentions(tmp_path, keras, layers):
    model = two_in_two_out(keras, layers)
    made = package(tmp_path, keras, model, node_name_mapping={"x": "in_a", "y": "out_b"})
    assert [spec.name for spec in made.inputs + made.outputs] == ["x", "in_b", "out_a", "y"]
    outputs = load_model(made).infer({"x": A, "in_b": B})
    np.testing.assert_allclose(outputs["y"], model.predict([A, B])[1], rtol=1e-5)


def test_given_specs_are_kept(tmp_path, keras, layers):
    model = two_in_two_out(keras, layers)
    made = package(
        tmp_path,
        keras,
        model,
        node_name_mapping={"z": "out_a"},
        input_spec=[{"name": "in_a", "dtype": np.float32, "shape": (None, "n")}],
        output_spec=[{"name": "z", "dtype": "float32", "shape": None}],
    )
    assert specs(made.inputs) == [("in_a", "float32", (None, "n"))]
    assert specs(made.outputs) == [("z", "float32", None)]
    outputs = load_model(made).infer({"in_a": A})
    np.testing.assert_allclose(outputs["z"], model.predict([A, B])[0], rtol=1e-5)


def test_a_fixed_first_dimension_stays_fixed(tmp_path, keras, layers):
    x = layers.Input(batch_shape=(2, 3), name="x")
    made = package(tmp_path, keras, keras.Model(x, layers.Activation("relu", name="y")(x)))
    assert specs(made.inputs + made.outputs) == [("x", "float32", (2, 3)), ("y", "float32", (2, 3))]


def test_a_sequential_model_is_packaged_with_what_it_learned(tmp_path, keras, layers):
    model = keras.Sequential(
        [
            layers.Conv2D(4, 3, input_shape=(8, 8, 2), name="first"),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3, name="last"),
        ]
    )
    x = NUMBERS.rand(6, 8, 8, 2).astype("float32")
    model.compile("sgd", "mse")
    before = model.predict(x)
    model.fit(x, before + 1, epochs=2, verbose=0)
    made = package(tmp_path, keras, model)
    (given,), (got,) = made.inputs, made.outputs
    assert (given.shape, got.name, got.shape) == (("batch_size", 8, 8, 2), "last", ("batch_size", 3))
    expected = model.predict(x)
    assert not np.allclose(before, expected, atol=1e-3)
    loaded = load_model(made)
    for _ in range(2):  # what drops out and what is averaged is a matter of training
        np.testing.assert_allclose(loaded.infer({given.name: x})["last"], expected, rtol=1e-4, atol=1e-5)
    model.fit(x, expected, verbose=0)  # the model is as it was


def test_loops_branches_and_shared_layers_keep_their_weights(tmp_path, keras, layers):
    ids = layers.Input((7,), name="ids")
    sequence = layers.BatchNormalization()(layers.Embedding(20, 6)(ids))
    shared = layers.Dense(5, activation="tanh")
    if not version(keras).startswith("2.3.0"):  # its recurrent layers need an older NumPy
        sequence = layers.GRU(5, return_sequences=True)(sequence)
        sequence = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(sequence)
    width = int(sequence.shape[-1])
    inner = keras.Sequential([layers.TimeDistributed(layers.Dense(5), input_shape=(7, width))])
    sequence = shared(shared(inner(sequence)))
    model = keras.Model(ids, layers.GlobalAveragePooling1D(name="out")(sequence))
    x = NUMBERS.randint(0, 20, (3, 7)).astype("float32")
    model.compile("sgd", "mse")
    model.fit(x, NUMBERS.rand(3, 5), verbose=0)
    made = package(tmp_path, keras, model)
    np.testing.assert_allclose(load_model(made).infer({"ids": x})["out"], model.predict(x), rtol=1e-4, atol=1e-5)


def test_a_layer_for_each_step_of_a_sequence_of_unknown_length_is_right_or_refused(tmp_path, keras, layers):
    x, dense = layers.Input((None, 3), name="x"), layers.Dense(2)
    model = keras.Model(x, layers.TimeDistributed(dense, name="each")(x))
    sequence = NUMBERS.rand(2, 7, 3).astype("float32")
    if version(keras).startswith("3."):
        with pytest.raises(
            PackageError, match="the layer 'each' is a TimeDistributed of unknown length, which Keras 3"
        ):
            package(tmp_path, keras, model)
    else:
        expected = model.predict(sequence)
        np.testing.assert_allclose(
            load_model(package(tmp_path, keras, model)).infer({"x": sequence})["each"], expected
        )


def test_the_batch_size_is_one_symbol_of_all_inputs_and_may_be_zero(tmp_path, keras, layers):
    made = package(tmp_path, keras, two_in_two_out(keras, layers))
    check_inputs(made.inputs, {"in_a": A[:2], "in_b": B[:2]})
    with pytest.raises(
        SpecError, match=r"'in_b': dimension 0 should be 5 \(the symbol 'batch_size', as in input 'in_a'"
    ):
        check_inputs(made.inputs, {"in_a": A, "in_b": B[:2]})
    outputs = load_model(made).infer({"in_a": A[:0], "in_b": B[:0]})
    assert {name: array.shape for name, array in outputs.items()} == {"out_a": (0, 3), "out_b": (0, 2, 2)}


def test_strings_are_inputs(tmp_path, keras, layers):
    if keras is not tf.keras or version(keras).startswith("3"):
        pytest.skip("this Keras has no layers of its own for strings")
    x = layers.Input((1,), dtype="string", name="x")
    made = package(tmp_path, keras, keras.Model(x, layers.Lambda(lambda s: v1.strings.length(s), name="n")(x)))
    assert specs(made.inputs + made.outputs) == [
        ("x", "string", ("batch_size", 1)),
        ("n", "int32", ("batch_size", 1)),
    ]
    assert load_model(made).infer({"x": np.array([["abc"], [""]])})["n"].tolist() == [[3], [0]]


@eager
def test_inputs_and_outputs_may_be_dicts(tmp_path, keras, layers):
    if keras is not tf.keras:
        pytest.skip("the standalone Keras knows lists only")
    x, y = layers.Input((2,), name="x"), layers.Input((2,), name="a")
    difference = layers.Subtract(name="difference")([x, y])
    model = keras.Model({"x": x, "a": y}, {"difference": difference, "b": layers.Activation("relu", name="b")(x)})
    loaded = load_model(package(tmp_path, keras, model))
    outputs = loaded.infer({"x": np.float32([[1, -2]]), "a": np.float32([[4, 4]])})
    assert {name: array.tolist() for name, array in outputs.items()} == {"difference": [[-3, -6]], "b": [[1, 0]]}


@eager
def test_in_tensorflow_2_a_model_may_be_built_in_a_graph(tmp_path, layers, keras):
    if keras is not tf.keras or version(keras).startswith("3"):
        pytest.skip("this Keras builds no models in a graph")
    with v1.Graph().as_default(), v1.Session() as session:
        v1.keras.backend.set_session(session)
        model = two_in_two_out(keras, layers)
        session.run(v1.global_variables_initializer())
        expected = model.predict([A, B], steps=None)
        made = package(tmp_path, keras, model, sess=session)
    np.testing.assert_allclose(load_model(made).infer({"in_a": A, "in_b": B})["out_a"], expected[0], rtol=1e-5)


@eager
def test_a_table_is_refused_and_the_way_to_package_it_named(tmp_path, keras, layers):
    if not hasattr(layers, "StringLookup"):
        pytest.skip("this Keras has no lookups")
    x = layers.Input((1,), dtype="string", name="x")
    model = keras.Model(x, layers.StringLookup(vocabulary=["a", "b"])(x))
    with pytest.raises(PackageError, match=r"table or another resource.*trackable_obj=model"):
        package(tmp_path, keras, model)
    assert list(tmp_path.iterdir()) == []


def test_the_finished_package_is_tested_in_a_process_of_its_own(tmp_path, keras, layers):
    x, y = (layers.Input((2,), name=name) for name in "xy")
    model = keras.Model([x, y], layers.Add(name="out")([x, y]))
    sample = {"x": np.float32([[1, 2]]), "y": np.float32([[3, 4]])}
    with pytest.raises(ValueError, match="not the expected ones"):
        package(tmp_path, keras, model, test_input_data=sample, test_expected_out={"out": np.float32([[0, 0]])})
    assert list(tmp_path.iterdir()) == []
    package(tmp_path, keras, model, test_input_data=sample, test_expected_out={"out": np.float32([[4, 6]])})


def test_packaging_adds_nothing_to_the_graph_of_the_model(tmp_path, keras, layers):
    model = two_in_two_out(keras, layers)
    session = session_of(keras)
    graph = session.graph if session else v1.get_default_graph()
    before = len(graph.get_operations())
    package(tmp_path, keras, model)
    assert len(graph.get_operations()) == before


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"node_name_mapping": {"x": "in_c"}}, "names 'in_c', but the inputs and outputs .* are .*'in_a', 'in_b'"),
        ({"node_name_mapping": {"x": None}}, "names None, but the inputs and outputs"),
        ({"node_name_mapping": ["x"]}, "must be a dict of Keras names by name, not"),
        ({"node_name_mapping": {"": "in_a"}}, "a name in node_name_mapping must be a string that is not empty"),
        ({"node_name_mapping": {"in_b": "in_a"}}, "the name 'in_b', which 'in_b' has already|gives 'in_a' the name"),
        ({"input_spec": [{"name": "w", "dtype": "float32", "shape": None}]}, "every input and output, and lacks 'w'"),
        ({"neuropod_path": "nowhere/packaged"}, "there is no folder"),
        ({"platform_version_semver": "latest"}, "must be a version range"),
    ],
)
def test_a_wrong_argument_is_a_value_error_and_leaves_nothing(tmp_path, parameters, message, keras, layers):
    model = two_in_two_out(keras, layers)
    arguments = {"neuropod_path": str(tmp_path / "packaged"), "model_name": "m", "sess": session_of(keras)}
    arguments.update(parameters)
    with pytest.raises(ValueError, match=message):
        create_keras_neuropod(model=model, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_say_its_inputs_is_refused(tmp_path, keras):
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(PackageError, match="does not say what its inputs are"):
        package(tmp_path, keras, Subclassed())


@pytest.mark.skipif(tf.executing_eagerly(), reason="TensorFlow 2 needs no session")
def test_a_session_without_the_weights_is_refused(tmp_path, keras, layers):
    model = two_in_two_out(keras, layers)
    with pytest.raises(PackageError, match="sess must be the session of that graph"):
        package(tmp_path, keras, model, sess=None)
    with pytest.raises(PackageError, match="sess must be the session of that graph"):
        package(tmp_path, keras, model, sess=v1.Session(graph=v1.Graph()))
    with pytest.raises(PackageError, match="sess does not hold the weights of the model"):
        package(tmp_path, keras, model, sess=v1.Session())
    assert list(tmp_path.iterdir()) == []
