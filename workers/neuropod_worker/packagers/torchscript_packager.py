"""TorchScript modules as packages of platform ``torchscript``."""

import os
from typing import Any, Optional

from neuropod_worker.errors import PackageError
from neuropod_worker.package.arguments import path_text
from neuropod_worker.package.writer import copy_into, write_package
from neuropod_worker.problem.parsing import Specs


def create_torchscript_neuropod(
    neuropod_path: str,
    model_name: str,
    input_spec: Specs,
    output_spec: Specs,
    module: Optional[Any] = None,
    module_path: Optional[str] = None,
    **common: Any,
) -> None:
    """Package a TorchScript module: a ``ScriptModule``, or without torch the path of a saved one."""
    if (module is None) == (module_path is None):
        raise PackageError("exactly one of module and module_path must be given")

    def write_model(folder: str) -> None:
        target = os.path.join(folder, "data", "model.pt")
        if module is not None:
            try:
                module.save(target)
            except Exception as error:  # torch raises whatever it likes for modules that it cannot save
                message = "module cannot be saved; it must be a ScriptModule, of torch.jit.script or trace: {}"
                raise PackageError(message.format(error)) from error
        else:
            copy_into(path_text("module_path", module_path), target)

    write_package(neuropod_path, model_name, "torchscript", write_model, input_spec, output_spec, **common)
