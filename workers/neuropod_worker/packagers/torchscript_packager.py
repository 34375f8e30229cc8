"""TorchScript modules as packages of platform ``torchscript``."""

import os
import zipfile
from contextlib import suppress
from typing import Any, List, Optional

from neuropod_worker.errors import PackageError
from neuropod_worker.package.writer import copy_into, file_to_package, write_package
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
        if module is None:
            copy_into(_saved_module(module_path), target)
            return
        try:
            module.save(target)
        except Exception as error:  # torch raises whatever it likes for modules that it cannot save
            message = "module cannot be saved; it must be a ScriptModule, of torch.jit.script or trace: {}"
            raise PackageError(message.format(error)) from error

    write_package(neuropod_path, model_name, "torchscript", write_model, input_spec, output_spec, **common)


def _saved_module(module_path: Any) -> str:
    path = file_to_package("module_path", module_path)
    names: List[str] = []
    with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    # What torch.save writes is an archive, too, but without these.
    if not any(name.endswith(("/constants.pkl", "/model.json")) for name in names):
        message = "module_path must be a file that torch.jit.save wrote, of a ScriptModule, and {} is none"
        raise PackageError(message.format(path), path)
    return path
