"""Platform ``tensorflow``, for TensorFlow 1.12 and later: a graph and a session, also in TensorFlow 2.

A frozen graph names its tensors in ``node_name_mapping``, a SavedModel in its ``serving_default`` signature.
Nothing global is switched, so eager code of others in this process stays eager.
"""

import importlib
import os
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Sequence

from neuropod_worker.backends.backend import Backend, LoadOptions, load_error
from neuropod_worker.backends.custom_ops import load_ops
from neuropod_worker.backends.gpus import chosen_gpu
from neuropod_worker.backends.tensorflow_calls import SessionCalls
from neuropod_worker.backends.tensorflow_strings import decoded, encoded
from neuropod_worker.backends.threads import thread_limit
from neuropod_worker.errors import PackageError
from neuropod_worker.package.package import Package
from neuropod_worker.package.platform_config import read_graph_names
from neuropod_worker.package.tensorflow_files import GRAPH, SAVED_MODEL, SIGNATURE, TAG
from neuropod_worker.problem.checks import Arrays

try:
    tf = importlib.import_module("tensorflow")  # untyped: it spans versions, and need not be there
except Exception as error:  # a broken installation raises TypeError and others
    raise load_error("platform tensorflow needs TensorFlow, but it cannot be imported here", error) from error

v1 = getattr(tf.compat, "v1", tf)  # TensorFlow 1.12 is v1 itself


class TensorFlowBackend(Backend):
    version = str(tf.__version__)

    def __init__(self, session: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        self._calls = SessionCalls(session, inputs, outputs)
        self._outputs = tuple(outputs)

    def infer(self, inputs: Arrays, requested: Optional[Sequence[str]]) -> Dict[str, Any]:
        feeds = {name: encoded(array) for name, array in inputs.items()}
        results = self._calls.run(feeds, self._outputs if requested is None else tuple(requested))
        return {name: decoded(name, value) for name, value in results.items()}

    def close(self) -> None:
        """Let the session go with its last reference: closing it would cancel a call that is running."""


class _Names(NamedTuple):
    """The graph's tensors by the names of inputs and outputs. In a signature both may have one name."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def load(package: Package, options: LoadOptions) -> Backend:
    path = _model_path(package)
    is_saved_model = os.path.isdir(path)
    if options.load_custom_ops:
        load_ops(package, "TensorFlow", tf.__version__, tf.load_op_library)
    settings = read_graph_names(package.path, optional=is_saved_model)
    config = _session_config(options)
    gpu = None if options.visible_gpu is None else chosen_gpu(options.visible_gpu, "TensorFlow", _gpus(config))
    if gpu is None:
        config.device_count["GPU"] = 0
    graph = v1.Graph()
    with graph.as_default(), graph.device(None if gpu is None else "/device:GPU:{}".format(gpu)):
        session = v1.Session(graph=graph, config=config)
        names = _Names(settings.nodes, settings.nodes)
        try:
            if is_saved_model:
                names = _load_saved_model(session, path)
            else:
                _import_frozen_graph(path)
        except PackageError:
            raise
        except Exception as error:  # TensorFlow raises whatever it likes for files that it cannot take
            message = (
                "TensorFlow {} cannot load {} (a model saved by another TensorFlow may need that one: "
                "platform_version_semver should say so)"
            )
            raise load_error(message.format(tf.__version__, path), error) from error
        inputs = _tensors(package, graph, names.inputs, [spec.name for spec in package.inputs])
        outputs = _tensors(package, graph, names.outputs, [spec.name for spec in package.outputs])
        _run_init_ops(package, session, settings.init_ops)
    return TensorFlowBackend(session, inputs, outputs)


def _model_path(package: Package) -> str:
    saved_model, frozen = package.file("data", SAVED_MODEL), package.file("data", GRAPH)
    if os.path.isdir(saved_model):
        return saved_model
    if not os.path.isfile(frozen):
        raise PackageError("the package has no model at {} or {}".format(saved_model, frozen), frozen)
    return frozen


def _session_config(options: LoadOptions) -> Any:
    config = v1.ConfigProto(allow_soft_placement=True)  # what a GPU cannot do the CPU does
    config.gpu_options.allow_growth = True  # by default one model takes all memory of the GPU
    threads = thread_limit(options)
    if threads is not None:
        config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = threads
    return config


def _gpus(config: Any) -> int:
    """How many GPUs TensorFlow sees. Its is_gpu_available would make and keep devices with other settings."""
    if not v1.test.is_built_with_cuda():
        return 0
    with v1.Graph().as_default(), v1.Session(config=config) as session:
        return [device.device_type for device in session.list_devices()].count("GPU")


def _import_frozen_graph(path: str) -> None:
    definition = v1.GraphDef()
    with open(path, "rb") as file:
        definition.ParseFromString(file.read())
    v1.import_graph_def(definition, name="")


def _load_saved_model(session: Any, path: str) -> _Names:
    """Load it into the session's graph; return what its signature names."""
    meta_graph = v1.saved_model.loader.load(session, [TAG], path)
    if SIGNATURE not in meta_graph.signature_def:
        raise PackageError("the SavedModel {} has no signature {!r}".format(path, SIGNATURE), path)
    signature = meta_graph.signature_def[SIGNATURE]
    return _Names(
        *({name: info.name for name, info in side.items()} for side in (signature.inputs, signature.outputs))
    )


def _tensors(package: Package, graph: Any, mapping: Mapping[str, str], names: Iterable[str]) -> Dict[str, Any]:
    tensors = {}
    for name in names:
        if name not in mapping:
            message = "the model of {} has no tensor for {!r} of the spec; its mapping or signature names {}"
            raise PackageError(message.format(package.path, name, ", ".join(sorted(mapping)) or "none"), package.path)
        node = mapping[name] if ":" in mapping[name] else mapping[name] + ":0"
        try:
            tensors[name] = graph.get_tensor_by_name(node)
        except (KeyError, ValueError):
            message = "the graph has no tensor {}, which node_name_mapping names for {!r}"
            raise PackageError(message.format(node, name), package.path) from None
    return tensors


def _run_init_ops(package: Package, session: Any, names: Sequence[str]) -> None:
    if not names:
        return
    try:
        operations = [session.graph.get_operation_by_name(name.partition(":")[0]) for name in names]
    except (KeyError, ValueError) as error:
        raise PackageError("the graph lacks an op of init_op_names: {}".format(error), package.path) from None
    try:
        session.run(operations)
    except Exception as error:  # the ops may do anything, custom ones included
        raise load_error("an op of init_op_names {} failed".format(", ".join(names)), error) from error
