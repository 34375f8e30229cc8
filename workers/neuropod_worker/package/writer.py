"""What all packagers share: a package is built in a folder beside its place and committed by a rename."""

import os
import shutil
import tempfile
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

from neuropod_worker.errors import PackageError
from neuropod_worker.package.archive import write_archive
from neuropod_worker.package.config import DEVICES, input_devices, write_config
from neuropod_worker.package.manifest import write_manifest
from neuropod_worker.package.package import Package
from neuropod_worker.package.self_test import self_test
from neuropod_worker.package.tensors_file import as_arrays, write_test_data
from neuropod_worker.problem.checks import check_inputs
from neuropod_worker.problem.parsing import parse_specs


def write_package(
    neuropod_path: str,
    model_name: str,
    platform: str,
    write_model: Callable[[str], None],
    input_spec: Iterable[Mapping[str, Any]],
    output_spec: Iterable[Mapping[str, Any]],
    platform_version_semver: str = "*",
    input_tensor_device: Optional[Mapping[str, str]] = None,
    default_input_tensor_device: str = "GPU",
    custom_ops: Sequence[str] = (),
    package_as_zip: bool = True,
    test_input_data: Optional[Mapping[str, Any]] = None,
    test_expected_out: Optional[Mapping[str, Any]] = None,
    persist_test_data: bool = True,
    zip_compression: bool = False,
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

    Raises ``PackageError`` or ``SpecError`` (both ``ValueError``); a failed call leaves nothing behind.
    """
    neuropod_path = os.path.abspath(os.fspath(neuropod_path))
    if default_input_tensor_device not in DEVICES:
        message = "default_input_tensor_device must be GPU or CPU, not {!r}"
        raise PackageError(message.format(default_input_tensor_device))
    if test_expected_out is not None and test_input_data is None:
        raise PackageError("test_expected_out needs test_input_data")
    inputs = parse_specs(input_spec, "input")
    package = Package(
        path=neuropod_path,
        name=model_name,
        platform=platform,
        version_range=platform_version_semver,
        inputs=inputs,
        outputs=parse_specs(output_spec, "output"),
        custom_ops=tuple(os.path.basename(path) for path in custom_ops),
        input_devices=input_devices(inputs, input_tensor_device, default_input_tensor_device),
        requirements_lock=None,
        config={},
    )
    test_inputs = as_arrays(test_input_data or {})
    test_outputs = as_arrays(test_expected_out or {})
    check_inputs(inputs, test_inputs)

    _refuse_existing(neuropod_path)
    parent = os.path.dirname(neuropod_path)
    if not os.path.isdir(parent):
        raise PackageError("there is no folder {} to put the package into".format(parent), parent)
    staging = tempfile.mkdtemp(prefix=".{}.".format(os.path.basename(neuropod_path)), dir=parent)
    try:
        staged = os.path.join(staging, "package")
        os.makedirs(os.path.join(staged, "0", "data"))
        write_config(staged, package)
        _copy_custom_ops(custom_ops, os.path.join(staged, "0", "ops"))
        write_model(os.path.join(staged, "0"))
        if test_input_data is not None and persist_test_data:
            write_test_data(staged, test_inputs, test_outputs)
        write_manifest(staged)
        if test_input_data is not None:
            self_test(staged, test_inputs, test_outputs if test_expected_out is not None else None)
        if package_as_zip:
            write_archive(staged, staged + ".zip", compress=bool(zip_compression))
            staged += ".zip"
        _refuse_existing(neuropod_path)
        os.rename(staged, neuropod_path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def copy_into(source: str, target: str) -> None:
    """Copy a file or a folder without compiled Python. Raises ``PackageError`` rather than overwrite."""
    if not os.path.exists(source):
        raise PackageError("there is no file or folder {}".format(source), source)
    if os.path.exists(target) and not (os.path.isdir(target) and not os.listdir(target)):
        raise PackageError("{} would be packaged over what is packaged already".format(source), source)
    if os.path.isdir(source):
        if os.path.isdir(target):
            os.rmdir(target)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pyc", "__pycache__"))
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)


def place_inside(folder: str, relative: str) -> str:
    """The path of a packaged name in a folder of the package; ``PackageError`` if it would lead out of it."""
    path = os.path.normpath(os.path.join(folder, relative))
    if path != folder and not path.startswith(folder + os.sep):
        raise PackageError("{!r} leads out of the package".format(relative))
    return path


def _refuse_existing(path: str) -> None:
    if os.path.lexists(path):
        raise PackageError("{} exists already; remove it or choose another path".format(path), path)


def _copy_custom_ops(custom_ops: Sequence[str], folder: str) -> None:
    for path in custom_ops:
        copy_into(path, os.path.join(folder, os.path.basename(path)))
