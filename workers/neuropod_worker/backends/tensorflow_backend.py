"""Platform ``tensorflow``, for TensorFlow 1.12 and later: a graph and a session, also in TensorFlow 2.

A frozen graph names its tensors in ``node_name_mapping``, a SavedModel in its ``serving_default`` signature.
Nothing global is switched, so eager code of others in this process stays eager.
"""

import importlib
import os
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

import numpy as np

from neuropod_worker.backends.backend import Backend, LoadOptions, load_error
from neuropod_worker.backends.custom_ops import load_ops
from neuropod_worker.backends.tensorflow_calls import SessionCalls
from neuropod_worker.backends.threads import thread_limit
from neuropod_worker.errors import LoadError, PackageError, SpecError
from neuropod_worker.package.arguments import listed
from neuropod_worker.package.config import PLATFORM_CONFIG, read_json
from neuropod_worker.package.package import Package
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
        encoded = {name: _encoded(array) for name, array in inputs.items()}
        results = self._calls.run(encoded, self._outputs if requested is None else tuple(requested))
        return {name: _decoded(name, value) for name, value in results.items()}

    def close(self) -> None:
        """Let the session go with its last reference: closing it would cancel a call that is running."""


def load(package: Package, options: LoadOptions) -> Backend:
    saved_model, frozen = package.file("data", SAVED_MODEL), package.file("data", GRAPH)
    path = saved_model if os.path.isdir(saved_model) else frozen
    if not os.path.exists(path):
        raise PackageError("the package has no model at {} or {}".format(saved_model, frozen), frozen)
    if options.load_custom_ops:
        load_ops(package, "TensorFlow", tf.__version__, tf.load_op_library)
    init_ops: List[str] = []
    feeds: Mapping[str, str] = {}
    if path == frozen or os.path.exists(os.path.join(package.path, PLATFORM_CONFIG)):
        settings = read_json(package.path, PLATFORM_CONFIG)
        feeds = settings.get("node_name_mapping") or {}
        init_ops = [str(name) for name in listed("init_op_names", list(settings.get("init_op_names") or ()))]
    fetches = feeds
    device, config = _placement(options.visible_gpu)
    threads = thread_limit(options)
    if threads is not None:
        config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = threads
    graph = v1.Graph()
    with graph.as_default(), graph.device(device):
        session = v1.Session(graph=graph, config=config)
        try:
            if path == saved_model:
                feeds, fetches = _load_saved_model(session, path)
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
        inputs = _tensors(package, graph, feeds, [spec.name for spec in package.inputs])
        outputs = _tensors(package, graph, fetches, [spec.name for spec in package.outputs])
        _run_init_ops(package, session, init_ops)
    return TensorFlowBackend(session, inputs, outputs)


def _placement(visible_gpu: Optional[int]) -> Any:
    """The device to place the graph on, ``None`` for wherever it likes, and the session's configuration."""
    config = v1.ConfigProto(allow_soft_placement=True)  # what a GPU cannot do the CPU does
    config.gpu_options.allow_growth = True  # by default one model takes all memory of the GPU
    # is_gpu_available would make and keep devices with other settings.
    gpus = 0
    if visible_gpu is not None and v1.test.is_built_with_cuda():
        gpus = len(_gpus(config))
    if visible_gpu is None or not gpus:
        config.device_count["GPU"] = 0
        return None, config
    if not 0 <= visible_gpu < gpus:
        raise LoadError("there is no GPU {}; TensorFlow sees {}".format(visible_gpu, gpus))
    return "/device:GPU:{}".format(visible_gpu), config


def _gpus(config: Any) -> List[Any]:
    with v1.Graph().as_default(), v1.Session(config=config) as session:
        return [device for device in session.list_devices() if device.device_type == "GPU"]


def _import_frozen_graph(path: str) -> None:
    definition = v1.GraphDef()
    with open(path, "rb") as file:
        definition.ParseFromString(file.read())
    v1.import_graph_def(definition, name="")


def _load_saved_model(session: Any, path: str) -> List[Dict[str, str]]:
    """Load it into the session's graph; return its signature's inputs and outputs, which may share names."""
    meta_graph = v1.saved_model.loader.load(session, [TAG], path)
    if SIGNATURE not in meta_graph.signature_def:
        raise PackageError("the SavedModel {} has no signature {!r}".format(path, SIGNATURE), path)
    signature = meta_graph.signature_def[SIGNATURE]
    return [{name: info.name for name, info in side.items()} for side in (signature.inputs, signature.outputs)]


def _tensors(package: Package, graph: Any, mapping: Mapping[str, str], names: Iterable[str]) -> Dict[str, Any]:
    tensors = {}
    for name in names:
        if name not in mapping:
            raise PackageError("the model has no node for the tensor {!r} of the spec".format(name), package.path)
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


def _encoded(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "U":
        return array
    encoded = np.empty(array.size, dtype=object)
    encoded[:] = [text.encode("utf-8") for text in array.ravel().tolist()]
    return encoded.reshape(array.shape)


def _decoded(name: str, value: Any) -> np.ndarray:
    """An array of a fetched value: numbers as they are, bytes as text."""
    array = np.asarray(value, dtype=object) if isinstance(value, bytes) else np.asarray(value)
    if array.dtype.kind != "O":
        return array
    try:
        return np.array([item.decode("utf-8") for item in array.ravel()], dtype=np.str_).reshape(array.shape)
    except UnicodeDecodeError as error:
        raise SpecError("output {!r} has a string that is not UTF-8: {}".format(name, error), tensor=name) from None
    except AttributeError:
        raise SpecError("output {!r} is no tensor of numbers or strings".format(name), tensor=name) from None
