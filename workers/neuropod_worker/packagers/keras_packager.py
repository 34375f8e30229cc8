"""Keras models as packages of platform ``tensorflow``."""

import sys
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from neuropod_worker.errors import PackageError
from neuropod_worker.package.arguments import text
from neuropod_worker.packagers.keras_graph import import_tensorflow, keras_graph
from neuropod_worker.packagers.tensorflow_packager import create_tensorflow_neuropod
from neuropod_worker.problem.parsing import Specs
from neuropod_worker.problem.specs import TensorSpec

_BATCH = "batch_size"  # the symbol of a first dimension of any size


def create_keras_neuropod(
    neuropod_path: str,
    model_name: str,
    sess: Optional[Any],
    model: Any,
    node_name_mapping: Optional[Mapping[str, str]] = None,
    input_spec: Optional[Specs] = None,
    output_spec: Optional[Specs] = None,
    **common: Any,
) -> None:
    """Package a Keras model that runs on TensorFlow, with the weights that it has now.

    - ``sess``: the session with the weights, ``keras.backend.get_session()``, of a model built in a graph, as
      TensorFlow 1 does; otherwise ``None``.
    - ``node_name_mapping``: the Keras name of an input or output, by the name that it is to have in the
      package. Inputs and outputs that it does not mention keep their Keras name.
    - ``input_spec``, ``output_spec``: by default what the model says of itself, with the symbol
      ``batch_size`` for a first dimension of any size.
    """
    _refuse_other_backends(model)
    inputs, outputs = _named(model, "input"), _named(model, "output")
    keras_names = {**outputs, **inputs}
    names = _package_names(node_name_mapping, keras_names)
    if input_spec is None:
        input_spec = [_spec(name, inputs[keras]) for name, keras in names.items() if keras in inputs]
    if output_spec is None:
        output_spec = [_spec(name, outputs[keras]) for name, keras in names.items() if keras in outputs]
    _refuse_unknown_lengths(model)
    graph = keras_graph(model, sess)
    nodes = {**dict(zip(outputs, graph.outputs)), **dict(zip(inputs, graph.inputs))}
    create_tensorflow_neuropod(
        neuropod_path,
        model_name,
        input_spec,
        output_spec,
        node_name_mapping={name: nodes[keras] for name, keras in names.items()},
        graph_def=graph.graph_def,
        init_op_names=graph.init_ops,
        **common,
    )


def _refuse_other_backends(model: Any) -> None:
    for kind in type(model).__mro__:
        keras = sys.modules.get("keras") if kind.__module__.partition(".")[0] == "keras" else None
        if keras is not None and keras.backend.backend() != "tensorflow":
            message = (
                "the Keras model runs on {}, and this packager takes models that run on TensorFlow; package it as "
                "Python code with create_python_neuropod, or load it under KERAS_BACKEND=tensorflow"
            )
            raise PackageError(message.format(keras.backend.backend()))


def _refuse_unknown_lengths(model: Any) -> None:
    """Keras 3.15 and others take the batch for the steps of a ``TimeDistributed`` if a graph does not know these."""
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Model) or not keras.__version__.startswith("3."):
        return
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.TimeDistributed):
            inputs = [tensor for node in layer._inbound_nodes for tensor in node.input_tensors]
            if any(tensor.shape[1] is None for tensor in inputs) and _mistakes_unknown_lengths(keras):
                message = (
                    "the layer {!r} is a TimeDistributed of unknown length, which Keras {} computes wrongly in a "
                    "graph; make the length known, as Input((7, 3)) does, or package it by create_python_neuropod"
                )
                raise PackageError(message.format(layer.name, keras.__version__))


def _mistakes_unknown_lengths(keras: Any) -> bool:
    tf = import_tensorflow()
    layer = keras.layers.TimeDistributed(keras.layers.Activation("linear"))
    traced = tf.function(layer).get_concrete_function(tf.TensorSpec((None, None, 1)))
    return tuple(traced(tf.zeros((2, 3, 1))).shape) != (2, 3, 1)


def _named(model: Any, role: str) -> Dict[str, Any]:
    """The model's symbolic inputs or outputs by their Keras name, in its order."""
    tensors: Optional[Sequence[Any]] = getattr(model, role + "s", None)
    if not tensors:
        message = (
            "the Keras model does not say what its {}s are: {!r}. Only functional and Sequential models do; package "
            "another one by create_tensorflow_neuropod(trackable_obj=model)"
        )
        raise PackageError(message.format(role, model))
    names = getattr(model, role + "_names", None)
    if names is None:  # Keras 3 has them for outputs of functional models only
        names = [tensor._keras_history[0].name for tensor in tensors]
    return dict(zip(_unique(names), tensors))


def _unique(names: Sequence[str]) -> List[str]:
    """Names of layers that occur more than once are numbered, as Keras 2 does."""
    unique: List[str] = []
    for name in names:
        number, numbered = 0, name
        while numbered in unique:
            number += 1
            numbered = "{}_{}".format(name, number)
        unique.append(numbered)
    return unique


def _package_names(given: Optional[Mapping[str, str]], keras_names: Iterable[str]) -> Dict[str, str]:
    """The Keras names by the names in the package, in the model's order."""
    if not isinstance(given, (Mapping, type(None))):
        raise PackageError("node_name_mapping must be a dict of Keras names by name, not {!r}".format(given))
    given = {text("a name in node_name_mapping", name): keras for name, keras in (given or {}).items()}
    unknown = [keras for keras in given.values() if keras not in keras_names]
    if unknown:
        message = "node_name_mapping names {!r}, but the inputs and outputs of the Keras model are {}"
        raise PackageError(message.format(unknown[0], ", ".join(map(repr, keras_names))))
    names: Dict[str, str] = {}
    for keras in keras_names:
        for name in [name for name, mapped in given.items() if mapped == keras] or [keras]:
            if name in names:
                message = "node_name_mapping gives {!r} the name {!r}, which {!r} has already"
                raise PackageError(message.format(names[name], name, keras))
            names[name] = keras
    return names


def _spec(name: str, tensor: Any) -> TensorSpec:
    tf = import_tensorflow()
    shape = tf.TensorShape(tensor.shape)
    if shape.ndims is None:
        return TensorSpec(name, tf.as_dtype(tensor.dtype).name, None)
    sizes: Tuple[Any, ...] = tuple(shape.as_list())
    return TensorSpec(name, tf.as_dtype(tensor.dtype).name, (_BATCH,) + sizes[1:] if sizes[:1] == (None,) else sizes)
