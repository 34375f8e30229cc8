"""TensorFlow graphs and SavedModels as packages of platform ``tensorflow``."""

import importlib
import json
import os
import re
import warnings
from typing import Any, Dict, Mapping, Optional, Sequence

from neuropod_worker.errors import PackageError
from neuropod_worker.package.arguments import listed, path_text, text
from neuropod_worker.package.tensorflow_files import GRAPH, SAVED_MODEL, graph_nodes, saved_model_signature
from neuropod_worker.package.writer import copy_into, file_to_package, write_package
from neuropod_worker.problem.parsing import Specs, parse_specs

_NODE = re.compile(r"[^:]+(:[0-9]+)?$")


def create_tensorflow_neuropod(
    neuropod_path: str,
    model_name: str,
    input_spec: Specs,
    output_spec: Specs,
    node_name_mapping: Optional[Mapping[str, str]] = None,
    frozen_graph_path: Optional[str] = None,
    graph_def: Optional[Any] = None,
    saved_model_dir: Optional[str] = None,
    trackable_obj: Optional[Any] = None,
    init_op_names: Sequence[str] = (),
    **common: Any,
) -> None:
    """Package a TensorFlow model, from exactly one source; only ``trackable_obj`` needs TensorFlow here.

    - ``frozen_graph_path``, ``graph_def``: a frozen graph, as a file or a ``GraphDef``.
      ``node_name_mapping`` names the graph's tensor (``node`` or ``node:0``) for every name of the specs.
    - ``saved_model_dir``, ``trackable_obj``: a SavedModel, or an object that ``tf.saved_model.save`` makes one
      of. Its ``serving_default`` signature must have the names of the specs.
    - ``init_op_names``: ops of the graph that are run once, when the model is loaded.
    """
    sources = {
        "frozen_graph_path": frozen_graph_path,
        "graph_def": graph_def,
        "saved_model_dir": saved_model_dir,
        "trackable_obj": trackable_obj,
    }
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        message = "exactly one of {} must be given, not {}"
        raise PackageError(message.format(", ".join(sources), " and ".join(given) or "none"))
    is_graph = given[0] in ("frozen_graph_path", "graph_def")
    input_specs, output_specs = parse_specs(input_spec, "input"), parse_specs(output_spec, "output")
    inputs, outputs = [spec.name for spec in input_specs], [spec.name for spec in output_specs]
    mapping = _mapping(node_name_mapping, given[0], inputs + outputs) if is_graph else None
    if not is_graph and node_name_mapping:
        message = "node_name_mapping is not used with {}: the names are those of the signature"
        warnings.warn(message.format(given[0]), stacklevel=2)
    init_ops = [text("each of init_op_names", name) for name in listed("init_op_names", init_op_names)]

    def write_model(folder: str) -> None:
        data = os.path.join(folder, "data")
        if mapping is not None:
            graph = _serialized(graph_def) if graph_def is not None else _content(frozen_graph_path)
            _check_graph(graph, mapping, init_ops, given[0])
            with open(os.path.join(data, GRAPH), "wb") as file:
                file.write(graph)
        else:
            path = os.path.join(data, SAVED_MODEL)
            if trackable_obj is not None:
                _save(trackable_obj, path)
                _check_signature(path, "trackable_obj", inputs, outputs)
            else:
                source = path_text("saved_model_dir", saved_model_dir)
                _check_signature(source, "saved_model_dir {}".format(source), inputs, outputs)
                copy_into(source, path)
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
            json.dump({"node_name_mapping": mapping or {}, "init_op_names": init_ops}, file, sort_keys=True)

    write_package(neuropod_path, model_name, "tensorflow", write_model, input_specs, output_specs, **common)


def _mapping(given: Optional[Mapping[str, str]], source: str, names: Sequence[str]) -> Dict[str, str]:
    if not isinstance(given, Mapping):
        raise PackageError("node_name_mapping must be given with {}, a dict, not {!r}".format(source, given))
    missing = [name for name in names if name not in given]
    if missing:
        message = "node_name_mapping must have every input and output, and lacks {}"
        raise PackageError(message.format(", ".join(map(repr, missing))))
    mapping = {text("a name in node_name_mapping", name): text("a node", node) for name, node in given.items()}
    for node in mapping.values():
        if not _NODE.match(node):
            raise PackageError(
                "node_name_mapping must name nodes as scope/node or scope/node:0, not {!r}".format(node)
            )
    return mapping


def _serialized(graph_def: Any) -> bytes:
    try:
        graph = graph_def.SerializeToString()
    except Exception as error:  # of whatever was given in its place
        message = "graph_def must be a GraphDef, but is of type {}: {}"
        raise PackageError(message.format(type(graph_def).__name__, error)) from error
    if not isinstance(graph, bytes):
        raise PackageError("graph_def must be a GraphDef, but is of type {}".format(type(graph_def).__name__))
    return graph


def _content(frozen_graph_path: Any) -> bytes:
    path = file_to_package("frozen_graph_path", frozen_graph_path)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise PackageError("frozen_graph_path cannot be read: {}".format(error), path) from error


def _save(trackable_obj: Any, path: str) -> None:
    try:
        tensorflow = importlib.import_module("tensorflow")  # untyped: it spans versions, and need not be there
        tensorflow.saved_model.save(trackable_obj, path)
    except Exception as error:  # TensorFlow raises whatever it likes for objects that it cannot save
        raise PackageError("trackable_obj cannot be saved as a SavedModel: {}".format(error)) from error


def _check_graph(graph: bytes, mapping: Mapping[str, str], init_ops: Sequence[str], source: str) -> None:
    nodes = graph_nodes(graph, source)
    for what, named in (("node_name_mapping", mapping.values()), ("init_op_names", init_ops)):
        unknown = [node for node in named if node.partition(":")[0] not in nodes]
        if unknown:
            raise PackageError("{} names {!r}, but the graph has no such node".format(what, unknown[0]))


def _check_signature(path: str, what: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    signature = saved_model_signature(path, what)
    problems = (
        ("input_spec lacks inputs of the model's signature", signature.inputs.difference(inputs)),
        ("input_spec has inputs that the model's signature lacks", set(inputs).difference(signature.inputs)),
        ("output_spec has outputs that the model's signature lacks", set(outputs).difference(signature.outputs)),
    )
    for problem, names in problems:
        if names:
            raise PackageError("{}: {}".format(problem, ", ".join(sorted(names))))
