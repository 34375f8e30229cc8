"""What all packagers share: a package is built in a folder beside its place and committed by a rename."""

import inspect
import os
import shutil
import tempfile
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

from neuropod_worker.errors import PackageError
from neuropod_worker.package.archive import write_archive
from neuropod_worker.package.arguments import listed, path_text, text, version_range
from neuropod_worker.package.config import DEVICES, input_devices, write_config
from neuropod_worker.package.manifest import write_manifest
from neuropod_worker.package.package import Package
from neuropod_worker.package.self_test import compare, run_with_this_interpreter
from neuropod_worker.package.tensors_file import as_arrays, write_test_data
from neuropod_worker.problem.checks import Arrays, check_inputs, select_outputs
from neuropod_worker.problem.parsing import Specs, parse_specs

_ignored = shutil.ignore_patterns("*.pyc", "__pycache__")


def write_package(
    neuropod_path: str,
    model_name: str,
    platform: str,
    write_model: Callable[[str], None],
    input_spec: Specs,
    output_spec: Specs,
    platform_version_semver: str = "*",
    input_tensor_device: Optional[Mapping[str, str]] = None,
    default_input_tensor_device: str = "GPU",
    custom_ops: Sequence[str] = (),
    package_as_zip: bool = True,
    test_input_data: Optional[Mapping[str, Any]] = None,
    test_expected_out: Optional[Mapping[str, Any]] = None,
    persist_test_data: bool = True,
    zip_compression: bool = False,
    test_runner: Callable[[str, Arrays], Arrays] = run_with_this_interpreter,
    **unknown: Any,
) -> None:
    """Write one package; ``write_model(folder)`` fills its ``0`` folder, in which ``data`` exists.

    The parameters from ``platform_version_semver`` on are common to all packagers:

    - ``platform_version_semver``: npm range of versions of the platform's framework.
    - ``input_tensor_device``, ``default_input_tensor_device``: where each input is wanted, ``GPU`` or
      ``CPU``.
    - ``custom_ops``: paths of shared libraries that are loaded before the model.
    - ``test_input_data``: the finished package is run on it at once, in a process of its own;
      ``test_expected_out`` is compared with what comes; ``persist_test_data`` keeps both in the package.
    - ``zip_compression``: whether a zip is deflated or stored.
    - ``test_runner``: gives the outputs of an unpacked package in a process of its own, or ``PackageError``.

    Raises ``PackageError`` or ``SpecError`` (both ``ValueError``), and ``TypeError`` for a parameter that there is
    not; a failed call leaves nothing behind.
    """
    if unknown:
        raise TypeError(_not_a_parameter(min(unknown)))
    neuropod_path = os.path.abspath(path_text("neuropod_path", neuropod_path))
    if default_input_tensor_device not in DEVICES:
        message = "default_input_tensor_device must be GPU or CPU, not {!r}"
        raise PackageError(message.format(default_input_tensor_device))
    if test_expected_out is not None and test_input_data is None:
        raise PackageError("test_expected_out needs test_input_data")
    inputs = parse_specs(input_spec, "input")
    op_paths = _op_paths(custom_ops)
    package = Package(
        path=neuropod_path,
        source=neuropod_path,
        name=text("model_name", model_name),
        platform=platform,
        version_range=version_range("platform_version_semver", platform_version_semver) or "*",
        inputs=inputs,
        outputs=parse_specs(output_spec, "output"),
        custom_ops=tuple(os.path.basename(path) for path in op_paths),
        input_devices=input_devices(inputs, input_tensor_device, default_input_tensor_device),
        requirements_lock=None,
        config={},
    )
    test_inputs = as_arrays("input", {} if test_input_data is None else test_input_data, package.inputs)
    test_outputs = as_arrays("output", {} if test_expected_out is None else test_expected_out, package.outputs)
    check_inputs(inputs, test_inputs)
    select_outputs(package.outputs, test_outputs)

    _refuse_existing(neuropod_path)
    parent = os.path.dirname(neuropod_path)
    if not os.path.isdir(parent):
        raise PackageError("there is no folder {} to put the package into".format(parent), parent)
    try:
        staging = tempfile.mkdtemp(prefix=".{}.".format(os.path.basename(neuropod_path)), dir=parent)
    except OSError as error:
        raise _not_written(neuropod_path, error) from error
    try:
        staged = os.path.join(staging, "package")
        os.makedirs(os.path.join(staged, "0", "data"))
        write_config(staged, package)
        for path in op_paths:
            copy_into(path, os.path.join(staged, "0", "ops", os.path.basename(path)))
        write_model(os.path.join(staged, "0"))
        if test_input_data is not None and persist_test_data:
            write_test_data(staged, test_inputs, test_outputs)
        write_manifest(staged)
        if test_input_data is not None:
            # A model may write into its own folder; what is committed is what was there before.
            tested = os.path.join(staging, "tested")
            shutil.copytree(staged, tested)
            try:
                outputs = test_runner(tested, test_inputs)
            except PackageError as error:  # nobody knows the folder that it names, which is gone in a moment
                raise PackageError(str(error).replace(tested, neuropod_path), neuropod_path) from error
            compare(outputs, test_outputs)
            shutil.rmtree(tested, ignore_errors=True)
        if package_as_zip:
            write_archive(staged, staged + ".zip", compress=bool(zip_compression))
            staged += ".zip"
        _refuse_existing(neuropod_path)
        os.rename(staged, neuropod_path)
    except OSError as error:  # a full disk, above all
        raise _not_written(neuropod_path, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _not_a_parameter(name: str) -> str:
    names = list(inspect.signature(write_package).parameters)
    common = names[names.index("platform_version_semver") : names.index("test_runner")]
    message = "the packager has no parameter {!r}; besides its own it has {}"
    return message.format(name, ", ".join(common))


def _not_written(path: str, error: OSError) -> PackageError:
    return PackageError("the package {} cannot be written: {}".format(path, error.strerror or error), path)


def file_to_package(what: str, value: Any) -> str:
    """The path of a regular file that a user names in the argument ``what``."""
    path = path_text(what, value)
    if not os.path.isfile(path):
        problem = "is no regular file" if os.path.lexists(path) else "does not exist"
        raise PackageError("{} must be a file, but {} {}".format(what, path, problem), path)
    return path


def copy_into(source: str, target: str) -> None:
    """Copy a file or a folder without compiled Python. Raises ``PackageError`` rather than overwrite."""
    if not os.path.lexists(source):
        raise PackageError("there is no file or folder {}".format(source), source)
    if os.path.exists(target) and not (os.path.isdir(target) and not os.listdir(target)):
        raise PackageError("{} would be packaged over what is packaged already".format(source), source)
    try:
        _check_copyable(source)
        if os.path.isdir(source):
            if os.path.isdir(target):
                os.rmdir(target)
            shutil.copytree(source, target, ignore=_ignored)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
    except OSError as error:
        raise PackageError("{} cannot be packaged: {}".format(source, error.strerror or error), source) from error


def place_inside(folder: str, relative: str) -> str:
    """The path of a packaged name in a folder of the package; ``PackageError`` if it would lead out of it."""
    path = os.path.normpath(os.path.join(folder, relative))
    if path != folder and not path.startswith(folder + os.sep):
        raise PackageError("{!r} leads out of the package".format(relative))
    above = os.path.dirname(path)
    while above.startswith(folder + os.sep):
        if os.path.isfile(above):
            message = "{!r} would lie inside the file that is packaged as {!r}"
            raise PackageError(message.format(relative, os.path.relpath(above, folder)))
        above = os.path.dirname(above)
    return path


def _check_copyable(source: str, above: Tuple[str, ...] = ()) -> None:
    """Follow links as the copying does; raise ``PackageError`` where that would find no file or no end."""
    if os.path.isdir(source):
        folder = os.path.realpath(source)
        if folder in above:
            raise PackageError("{} is a link to a folder that it lies in itself".format(source), source)
        names = os.listdir(source)
        for name in set(names).difference(_ignored(source, names)):
            _check_copyable(os.path.join(source, name), above + (folder,))
    elif not os.path.isfile(source):
        leads_nowhere = os.path.islink(source) and not os.path.exists(source)
        problem = "is a link that leads to no file" if leads_nowhere else "is no regular file"
        raise PackageError("{} {}, and cannot be packaged".format(source, problem), source)


def _refuse_existing(path: str) -> None:
    if os.path.lexists(path):
        raise PackageError("{} exists already; remove it or choose another path".format(path), path)


def _op_paths(custom_ops: Any) -> Tuple[str, ...]:
    paths = tuple(file_to_package("each of custom_ops", path) for path in listed("custom_ops", custom_ops))
    by_name: Dict[str, str] = {}
    for path in paths:
        first = by_name.setdefault(os.path.basename(path), path)
        if first is not path:
            message = "custom_ops must have names of their own, as all lie in one folder, but {} and {} have not"
            raise PackageError(message.format(first, path), path)
    return paths
