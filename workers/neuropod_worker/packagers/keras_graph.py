"""A Keras model as one TensorFlow graph that holds its weights, whatever version and style made the model.

Expects a model of ``tf.keras``, Keras 3 or the old standalone Keras, with TensorFlow below it. Gives a
``GraphDef`` that needs nothing else. A variable that is only read becomes a constant, which TensorFlow computes
ahead with (a fifth of the time of a small model); one that goes elsewhere, into a loop, a branch or a function,
stays a variable, and an op sets it to the weight of now. TensorFlow's own ways to freeze all of them fail on
models as common as an embedding or a batch normalisation, for another of them in each version.
"""

import importlib
from typing import Any, Container, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from neuropod_worker.errors import PackageError

_MODEL, _WEIGHTS, _INIT = "model", "weights", "init"  # names at the top of the graph

_Values = List[Tuple[Any, Any]]  # the tensor that stands for a variable or constant, and its value


class KerasGraph(NamedTuple):
    """The graph, its tensors in the order of the model's inputs and outputs, and the ops to run once."""

    graph_def: Any
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    init_ops: Tuple[str, ...]


def keras_graph(model: Any, session: Optional[Any]) -> KerasGraph:
    """The inference graph of a model. ``session`` holds the weights of a model that was built in its graph.

    Raises ``PackageError``.
    """
    tf = import_tensorflow()
    v1 = getattr(tf.compat, "v1", tf)
    graph, inputs, outputs = getattr(model.outputs[0], "graph", None), model.inputs, model.outputs
    if graph is None:
        graph, inputs, outputs = _traced(tf, model)
    kept = [tensor.op.name for tensor in (*inputs, *outputs)]
    definition = v1.graph_util.extract_sub_graph(graph.as_graph_def(), kept)
    nodes = [node.name for node in definition.node]
    if hasattr(graph, "captures"):
        values = _captured_values(graph, model.weights, set(nodes))
    else:
        values = _session_values(graph, session, nodes)
    return _self_contained(v1, definition, values, *([tensor.name for tensor in side] for side in (inputs, outputs)))


def import_tensorflow() -> Any:
    """The module, untyped: it spans versions, and need not be there."""
    try:
        return importlib.import_module("tensorflow")
    except Exception as error:  # a broken installation raises TypeError and others
        message = "packaging a Keras model needs TensorFlow, which cannot be imported here: {}"
        raise PackageError(message.format(error)) from error


def _traced(tf: Any, model: Any) -> Tuple[Any, List[Any], List[Any]]:
    """The graph of a call in inference mode, its inputs and outputs."""
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs]

    def call(*tensors: Any) -> Any:
        return tf.nest.flatten(model(list(tensors) if len(tensors) > 1 else tensors[0], training=False))

    try:
        graph = tf.function(call).get_concrete_function(*specs).graph
    except Exception as error:  # the model's layers run code of their own
        raise PackageError("the Keras model cannot be called with tensors of its inputs: {}".format(error)) from error
    # A function's outputs wait for all that has an effect, so none could be had without all inputs.
    return graph, graph.inputs[: len(specs)], [output.op.inputs[0] for output in graph.outputs]


def _session_values(graph: Any, session: Optional[Any], nodes: Iterable[str]) -> _Values:
    """The variables of a graph of TensorFlow 1, by their handle or reference."""
    if session is None or session.graph is not graph:
        message = (
            "the model was built in a graph, so sess must be the session of that graph which holds the weights, "
            "such as keras.backend.get_session(), and not {!r}"
        )
        raise PackageError(message.format(session))
    operations = [graph.get_operation_by_name(name) for name in nodes]
    tensors, reads = [], []
    for operation in operations:
        if operation.type in ("Variable", "VariableV2", "VarHandleOp"):
            tensor = operation.outputs[0]
            tensors.append(tensor)
            reads.append(tensor if operation.type != "VarHandleOp" else _read(tensor))
    try:
        return list(zip(tensors, session.run(reads)))
    except Exception as error:  # TensorFlow's own, for variables that have no value
        message = "sess does not hold the weights of the model: {}"
        raise PackageError(message.format(str(error).partition("\n")[0])) from error


def _read(handle: Any) -> Any:
    """The value of a resource variable, by the op that came with it; others may wait for a step of training."""
    readers = [user for user in handle.consumers() if user.type == "ReadVariableOp" and not user.control_inputs]
    return readers[0].outputs[0]


def _captured_values(graph: Any, weights: Iterable[Any], nodes: Container[str]) -> _Values:
    """What a function's graph took from outside, by the placeholder that stands for it."""
    # A graph knows the variables that were read while it was traced; the one of Keras before 2.4 was not.
    known = [*graph.variables, *(weight for weight in weights if hasattr(weight, "handle"))]
    variables = {id(variable.handle): variable for variable in known}
    captures = graph.captures.items() if hasattr(graph.captures, "items") else graph.captures
    values = []
    for outside, inside in captures:
        if inside.op.name in nodes:
            held = outside if inside.dtype.name != "resource" else variables.get(id(outside))
            if held is None:
                message = (
                    "the Keras model uses a table or another resource that is no variable ({}); package it with "
                    "create_tensorflow_neuropod(trackable_obj=model)"
                )
                raise PackageError(message.format(inside.op.name))
            values.append((inside, held.numpy()))
    return values


def _self_contained(
    v1: Any, definition: Any, values: _Values, inputs: Sequence[str], outputs: Sequence[str]
) -> KerasGraph:
    users = _users(definition)
    with v1.Graph().as_default() as graph:
        replaced, initializers = {}, []
        for number, (tensor, value) in enumerate(values):
            name = "{}/{}".format(_WEIGHTS, number)
            kind = tensor.dtype.name
            if kind == "resource" and any(node.op != "ReadVariableOp" for node in users[tensor.op.name]):
                variable = v1.get_variable(name, initializer=value, use_resource=True)
            elif kind.endswith("_ref") and any(node.op != "Identity" for node in users[tensor.op.name]):
                variable = v1.get_variable(name, initializer=value, use_resource=False)
            else:
                replaced[tensor.name] = v1.constant(value, name=name)
                for node in users[tensor.op.name]:
                    _read_constant(node)
                continue
            replaced[tensor.name] = variable.op.outputs[0]
            initializers.append(variable.initializer)
        v1.import_graph_def(definition, input_map=replaced, name=_MODEL)
        init_ops = (v1.group(*initializers, name=_INIT).name,) if initializers else ()
        given, got = (tuple("{}/{}".format(_MODEL, name) for name in side) for side in (inputs, outputs))
        kept = [name.partition(":")[0] for name in given + got + init_ops]
        return KerasGraph(v1.graph_util.extract_sub_graph(graph.as_graph_def(), kept), given, got, init_ops)


def _users(definition: Any) -> Dict[str, List[Any]]:
    """The nodes that take each node's output."""
    users: Dict[str, List[Any]] = {node.name: [] for node in definition.node}
    for node in definition.node:
        node.attr.pop("_class", None)  # asks to be placed beside variables that are left out
        for name in node.input:
            users[name.partition(":")[0].lstrip("^")].append(node)
    return users


def _read_constant(node: Any) -> None:
    """Make an op that reads a variable one that passes a constant on."""
    if node.op == "ReadVariableOp":
        dtype = node.attr.pop("dtype")
        node.attr.clear()
        node.op = "Identity"
        node.attr["T"].CopyFrom(dtype)
