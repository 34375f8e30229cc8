"""Opening a package, whatever its age and form.

Expects a path of a directory or a zip file. Gives an immutable ``Package`` whose ``path`` is a directory.
Never runs code of the package, never unpickles, never writes into a package directory.
"""

import os
import zipfile
from typing import Any, Mapping, NamedTuple, Optional, Tuple

from neuropod_worker.errors import PackageError
from neuropod_worker.package.archive import extracted
from neuropod_worker.package.config import read_config
from neuropod_worker.package.manifest import verify_manifest
from neuropod_worker.problem.specs import TensorSpec

# Torch before 1.4 wrote another archive format, which 1.10.2 still reads and 1.12.1 refuses.
_READERS_OF_OLD_TORCHSCRIPT = "<1.11"


class Package(NamedTuple):
    """An opened package.

    ``version_range`` is the npm range of ``platform_version_semver``; where that asks for nothing, but the
    model file is in a format that only old versions read, it is the range of those. ``custom_ops`` are file
    names in ``0/ops``. ``input_devices`` says GPU or CPU for every input. ``config`` is ``config.json`` as
    read, with keys that this library does not know.
    """

    path: str
    name: str
    platform: str
    version_range: str
    inputs: Tuple[TensorSpec, ...]
    outputs: Tuple[TensorSpec, ...]
    custom_ops: Tuple[str, ...]
    input_devices: Mapping[str, str]
    requirements_lock: Optional[str]
    config: Mapping[str, Any]

    def file(self, *parts: str) -> str:
        """The path of a file in the package's ``0`` folder."""
        return os.path.join(self.path, "0", *parts)

    def custom_op_paths(self) -> Tuple[str, ...]:
        """The paths of the custom ops in loading order. Raises ``PackageError`` if one is missing."""
        paths = tuple(self.file("ops", name) for name in self.custom_ops)
        for path in paths:
            if not os.path.isfile(path):
                raise PackageError("the package lacks its custom op {}".format(path), path)
        return paths


def open_package(path: str, cache_dir: Optional[str] = None) -> Package:
    """Open a package, a directory or a zip, and verify its manifest if it has one.

    A zip is extracted into ``cache_dir`` (needed for zips only) unless equal content already lies there; the
    hashes of large files are remembered there too. Raises ``PackageError`` or ``SpecError``, both
    ``ValueError``.
    """
    path = os.path.abspath(os.fspath(path))
    if os.path.isdir(path):
        verify_manifest(path, cache_dir)
        return read_package(path)
    if not os.path.exists(path):
        raise PackageError("there is no package at {}".format(path), path)
    if cache_dir is None:
        raise PackageError("{} is a zip file; a cache_dir to extract it into is needed".format(path), path)
    return read_package(extracted(path, cache_dir))


def read_package(directory: str) -> Package:
    """The package in a directory, not verified: for those who were handed the path of an opened package."""
    config = read_config(directory)
    version_range = config.version_range
    if config.platform == "torchscript" and version_range == "*" and _is_old_torchscript(directory):
        version_range = _READERS_OF_OLD_TORCHSCRIPT
    lock = os.path.join(directory, "0", "requirements.lock")
    requirements = None
    if os.path.exists(lock):
        with open(lock, encoding="utf-8") as file:
            requirements = file.read()
    return Package(
        path=directory,
        name=config.name,
        platform=config.platform,
        version_range=version_range,
        inputs=config.inputs,
        outputs=config.outputs,
        custom_ops=config.custom_ops,
        input_devices=config.input_devices,
        requirements_lock=requirements,
        config=config.raw,
    )


def _is_old_torchscript(directory: str) -> bool:
    try:
        with zipfile.ZipFile(os.path.join(directory, "0", "data", "model.pt")) as archive:
            return any(name.endswith("/model.json") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False  # whoever loads it says what is wrong
