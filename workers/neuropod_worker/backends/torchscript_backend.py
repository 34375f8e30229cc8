"""Platform ``torchscript``, for torch 1.1 and later."""

import importlib
import os
from typing import Any, Callable, Dict, Optional, Sequence

import numpy as np

from neuropod_worker.backends.backend import Backend, LoadOptions, load_error
from neuropod_worker.backends.custom_ops import load_ops
from neuropod_worker.backends.gpus import chosen_gpu
from neuropod_worker.backends.threads import thread_limit
from neuropod_worker.errors import PackageError, SpecError
from neuropod_worker.package.package import Package
from neuropod_worker.problem.checks import Arrays

try:
    torch = importlib.import_module("torch")  # untyped: it spans versions, and need not be there
except Exception as error:  # a broken installation raises OSError and others
    raise load_error("platform torchscript needs torch, but it cannot be imported here", error) from error

# From 1.10 on a tensor may be the conjugate or the negative of what lies in its memory.
_HAS_LAZY_VIEWS = hasattr(torch.Tensor, "resolve_neg")

_MIXING = """
def forward(self, tensors: Dict[str, Tensor], strings: Dict[str, List[str]]):
    inputs = torch.jit.annotate({}, {{}})
    for name, tensor in tensors.items():
        inputs[name] = tensor
    for name, texts in strings.items():
        inputs[name] = texts
    return self.model(inputs)
"""


class TorchScriptBackend(Backend):
    version = str(torch.__version__)

    def __init__(self, package: Package, module: Any, device: Any) -> None:
        self._call = _taking_a_dict(module)
        self._output_names = [spec.name for spec in package.outputs]
        self._texts = {spec.name for spec in package.outputs if spec.dtype == "string"}
        self._on_gpu = {}
        if device.type != "cpu":
            self._on_gpu = {name: device for name, where in package.input_devices.items() if where == "GPU"}

    def infer(self, inputs: Arrays, requested: Optional[Sequence[str]]) -> Dict[str, Any]:
        arguments = {name: _argument(name, array) for name, array in inputs.items()}
        for name, device in self._on_gpu.items():
            if torch.is_tensor(arguments.get(name)):
                arguments[name] = arguments[name].to(device)
        with torch.no_grad():
            result = self._call(arguments)
        return {name: _array(name, value, name in self._texts) for name, value in self._named(result).items()}

    def _named(self, result: Any) -> Dict[str, Any]:
        if isinstance(result, dict):
            return result
        if isinstance(result, tuple) and hasattr(result, "_fields"):
            return dict(zip(result._fields, result))
        if isinstance(result, tuple) and all(isinstance(part, dict) for part in result):
            outputs: Dict[str, Any] = {}
            for part in result:
                for name in part:
                    if name in outputs:
                        raise SpecError("the model returned output {!r} twice".format(name), tensor=name)
                outputs.update(part)
            return outputs
        if len(self._output_names) == 1 and not isinstance(result, tuple):
            return {self._output_names[0]: result}
        message = "the model returned a {}; for {} outputs it must be a dict, tuple of dicts or namedtuple"
        raise SpecError(message.format(type(result).__name__, len(self._output_names)))


def load(package: Package, options: LoadOptions) -> Backend:
    path = package.file("data", "model.pt")
    if not os.path.isfile(path):
        raise PackageError("the package has no model at {}".format(path), path)
    if options.load_custom_ops:
        load_ops(package, "torch", torch.__version__, torch.ops.load_library)
    threads = thread_limit(options)
    if threads is not None:
        torch.set_num_threads(threads)  # not those between operators: torch 1 aborts if that was set before
    device = _device(options.visible_gpu)
    try:
        module = torch.jit.load(path, map_location=device)
    except Exception as error:  # torch raises RuntimeError and many others for files that it cannot take
        message = (
            "torch {} cannot load {} (a model saved by a much older or newer torch needs that one: "
            "platform_version_semver should say so)"
        )
        raise load_error(message.format(torch.__version__, path), error) from error
    if getattr(module, "forward", None) is None:
        raise PackageError("the module in {} has no forward method".format(path), path)
    return TorchScriptBackend(package, module, device)


def _device(visible_gpu: Optional[int]) -> Any:
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpu = chosen_gpu(visible_gpu, "torch", seen)
    return torch.device("cpu") if gpu is None else torch.device("cuda", gpu)


def _taking_a_dict(module: Any) -> Callable[[Dict[str, Any]], Any]:
    """A function that gives the module its inputs as its ``forward`` wants them: by keyword, or all in a dict."""
    arguments = [argument for argument in module.forward.schema.arguments if argument.name != "self"]
    wanted = str(arguments[0].type) if len(arguments) == 1 else ""
    if not wanted.startswith("Dict["):
        # An Optional without a default must be given, says TorchScript; a package says that inputs may be left out.
        absent = {argument.name: None for argument in arguments if _is_optional(argument)}
        return lambda inputs: module(**{**absent, **inputs})
    return _mixing(module, wanted) if "Union[" in wanted else module


def _is_optional(argument: Any) -> bool:
    shown = str(argument.type)
    return (shown.startswith("Optional[") or shown.endswith("?")) and argument.default_value is None


def _mixing(module: Any, wanted: str) -> Callable[[Dict[str, Any]], Any]:
    # Torch guesses which part of a Union a Python value is, and cannot for an empty list: TorchScript says it.
    class Mixing(torch.jit.ScriptModule):  # type: ignore[misc, name-defined]
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

    mixing = Mixing(module)  # not a variable of the class's: torch keeps the class for ever
    try:
        mixing.define(_MIXING.format(wanted))
    except RuntimeError as error:  # TorchScript does not compile
        message = "the model takes a {}; its values must be tensors, lists of strings, or a Union of both"
        raise PackageError(message.format(wanted)) from error

    def call(inputs: Dict[str, Any]) -> Any:
        strings = {name: value for name, value in inputs.items() if isinstance(value, list)}
        return mixing({name: value for name, value in inputs.items() if name not in strings}, strings)

    return call


def _argument(name: str, array: np.ndarray) -> Any:
    if array.dtype.kind == "U":
        if array.ndim != 1:
            message = "input {!r}: TorchScript takes strings of one dimension only, not {}"
            raise SpecError(message.format(name, array.ndim), tensor=name)
        return array.tolist()
    if not array.flags.writeable:
        # No tensor is read-only: torch warns, and an in-place operation would write into the caller's memory.
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except ValueError:  # foreign byte order or negative strides
        native = array.astype(array.dtype.newbyteorder("="), order="C")
        return torch.from_numpy(native)
    except TypeError:
        message = "input {!r}: torch {} has no tensors of {}"
        raise SpecError(message.format(name, torch.__version__, array.dtype.name), tensor=name) from None


def _array(name: str, value: Any, may_be_text: bool) -> np.ndarray:
    if torch.is_tensor(value):
        if value.layout is not torch.strided:
            raise SpecError("output {!r} is sparse; the model must return it dense".format(name), tensor=name)
        if value.requires_grad:
            value = value.detach()
        value = value.cpu().contiguous()
        if _HAS_LAZY_VIEWS and (value.is_conj() or value.is_neg()):
            value = value.resolve_conj().resolve_neg()
        try:
            return value.numpy()  # type: ignore[no-any-return]
        except TypeError:
            message = "output {!r} is {}, which numpy cannot hold"
            raise SpecError(message.format(name, value.dtype), tensor=name) from None
    # A list without items says nothing of its type; the spec does.
    if isinstance(value, list) and all(isinstance(item, str) for item in value) and (value or may_be_text):
        return np.array(value, dtype=np.str_)
    message = "output {!r} must be a tensor or a list of strings, but is a {}"
    raise SpecError(message.format(name, type(value).__name__), tensor=name)
