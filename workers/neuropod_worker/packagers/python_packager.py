"""Python code as packages of platform ``python``: anything that takes and returns arrays, PyTorch included."""

import json
import os
import platform
from typing import Any, List, Mapping, Sequence, Union

from neuropod_worker.errors import PackageError
from neuropod_worker.package.arguments import dicts_with, listed, path_text, text
from neuropod_worker.package.ranges import lies_in
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

    version_range = str(common.get("platform_version_semver", "*"))

    def write_model(folder: str) -> None:
        for path, name in data:
            copy_into(path, place_inside(os.path.join(folder, "data"), name))
        code = os.path.join(folder, "code")
        for root, name in sources:
            copy_into(os.path.join(root, name), place_inside(code, name))
        for place, _, files in os.walk(code):
            if "__init__.py" not in files:
                open(os.path.join(place, "__init__.py"), "w").close()
        _check_entry((code, os.path.join(folder, "ops")), entrypoint_package, version_range)
        if requirements is not None:
            with open(os.path.join(folder, "requirements.lock"), "w", encoding="utf-8") as file:
                file.write(lock_text(requirements))
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
            json.dump(entry, file, sort_keys=True)

    write_package(neuropod_path, model_name, "python", write_model, input_spec, output_spec, **common)


# PyTorch models that are Python code are `python` packages; their torch is pinned in the requirements.
create_pytorch_neuropod = create_python_neuropod


def _check_entry(roots: Sequence[str], module: str, version_range: str) -> None:
    """Raise ``PackageError`` where the entry point cannot be what is meant. Nothing is imported."""
    found = [path for root in roots for path in _files_of_module(root, module)]
    if not found:
        message = "there is no module {} for the entry point in what code_path_spec packages"
        raise PackageError(message.format(module))
    if not found[0].endswith(".py"):
        return
    with open(found[0], "rb") as file:
        source = file.read()
    if lies_in(platform.python_version(), version_range):
        try:
            compile(source, os.path.basename(found[0]), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            message = "the module {} of the entry point is none to Python {}: {}. If it is for others, say for which "
            message += "(platform_version_semver)"
            raise PackageError(message.format(module, platform.python_version(), error)) from error


def _files_of_module(root: str, module: str) -> List[str]:
    """The files below ``root`` that an import would take, the first of them first; also those for other Pythons."""
    path = os.path.join(root, *module.split("."))
    if os.path.isdir(path):
        return [os.path.join(path, "__init__.py")]
    place, name = os.path.split(path)
    files = sorted(os.listdir(place)) if os.path.isdir(place) else []
    files = [file for file in files if file.split(".")[0] == name and file.endswith((".so", ".pyd", ".py"))]
    return [os.path.join(place, file) for file in files]


def _packaged_name(name: Any) -> str:
    if os.path.normpath(path_text("packaged_name", name)) == ".":
        raise PackageError("packaged_name must be the name of a file or folder, not {!r}".format(name))
    return str(name)


def _refuse_inside(neuropod_path: str, what: str, place: str) -> None:
    place, path = os.path.realpath(place), os.path.realpath(neuropod_path)
    if path == place or path.startswith(os.path.join(place, "")):
        raise PackageError("the package {} must not lie inside the {} {}".format(path, what, place), path)
