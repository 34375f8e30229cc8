"""Python code as packages of platform ``python``: anything that takes and returns arrays, PyTorch included."""

import json
import os
from typing import Any, Mapping, Sequence, Union

from neuropod_worker.errors import PackageError
from neuropod_worker.package.arguments import dicts_with, listed, path_text, text
from neuropod_worker.package.requirements import lock_text
from neuropod_worker.package.writer import copy_into, place_inside, write_package
from neuropod_worker.problem.parsing import Specs


def create_python_neuropod(
    neuropod_path: str,
    model_name: str,
    data_paths: Sequence[Mapping[str, str]],
    code_path_spec: Sequence[Mapping[str, Any]],
    entrypoint_package: str,
    entrypoint: str,
    input_spec: Specs,
    output_spec: Specs,
    requirements: Union[str, Sequence[str], None] = None,
    **common: Any,
) -> None:
    """Package Python code, with the data that it needs.

    ``data_paths``: ``{"path", "packaged_name"}`` each, a file or folder for ``0/data``. ``code_path_spec``:
    ``{"python_root", "dirs_to_package"}`` each, for ``0/code``. ``entrypoint`` is a function of the module
    ``entrypoint_package``; called with the path of the data folder it returns a callable that takes the
    inputs as keyword arguments and returns a dict of arrays. ``requirements``: text or lines; unpinned ones
    are compiled.
    """
    data = [
        (path_text("path", item["path"]), _packaged_name(item["packaged_name"]))
        for item in dicts_with("data_paths", data_paths, ("path", "packaged_name"))
    ]
    sources = [
        (path_text("python_root", spec["python_root"]), path_text("each of dirs_to_package", name))
        for spec in dicts_with("code_path_spec", code_path_spec, ("python_root", "dirs_to_package"))
        for name in listed("dirs_to_package", spec["dirs_to_package"])
    ]
    for what, place in [("python_root", root) for root, _ in sources] + [("data path", path) for path, _ in data]:
        _refuse_inside(path_text("neuropod_path", neuropod_path), what, place)
    entry = {
        "entrypoint_package": text("entrypoint_package", entrypoint_package),
        "entrypoint": text("entrypoint", entrypoint),
    }

    def write_model(folder: str) -> None:
        for path, name in data:
            copy_into(path, place_inside(os.path.join(folder, "data"), name))
        code = os.path.join(folder, "code")
        for root, name in sources:
            copy_into(os.path.join(root, name), place_inside(code, name))
        for place, _, files in os.walk(code):
            if "__init__.py" not in files:
                open(os.path.join(place, "__init__.py"), "w").close()
        if requirements is not None:
            with open(os.path.join(folder, "requirements.lock"), "w", encoding="utf-8") as file:
                file.write(lock_text(requirements))
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
            json.dump(entry, file, sort_keys=True)

    write_package(neuropod_path, model_name, "python", write_model, input_spec, output_spec, **common)


# PyTorch models that are Python code are `python` packages; their torch is pinned in the requirements.
create_pytorch_neuropod = create_python_neuropod


def _packaged_name(name: Any) -> str:
    if os.path.normpath(path_text("packaged_name", name)) == ".":
        raise PackageError("packaged_name must be the name of a file or folder, not {!r}".format(name))
    return str(name)


def _refuse_inside(neuropod_path: str, what: str, place: str) -> None:
    place, path = os.path.realpath(place), os.path.realpath(neuropod_path)
    if path == place or path.startswith(os.path.join(place, "")):
        raise PackageError("the package {} must not lie inside the {} {}".format(path, what, place), path)
