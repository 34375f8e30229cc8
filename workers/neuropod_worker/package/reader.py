"""Opening a package, whatever its age and form.

Expects a path of a directory or a zip file. Gives an immutable ``Package`` whose ``path`` is a directory.
Never runs code of the package, never unpickles, never writes into a package directory.
"""

import os
from typing import Optional, Union

from neuropod_worker.errors import PackageError
from neuropod_worker.package.arguments import path_text
from neuropod_worker.package.config import read_config
from neuropod_worker.package.package import Package

# Torch before 1.4 wrote another archive format, which 1.10.2 still reads and 1.12.1 refuses.
_READERS_OF_OLD_TORCHSCRIPT = "<1.11"


def open_package(path: "Union[str, os.PathLike[str]]", cache_dir: Optional[str] = None) -> Package:
    """Open a package, a directory or a zip, and verify its manifest if it has one.

    A zip is extracted into ``cache_dir`` (needed for zips only) unless equal content already lies there; the
    hashes of large files are remembered there too. Raises ``PackageError`` or ``SpecError``, both
    ``ValueError``.
    """
    # Here, because a worker is told a folder that is verified, and should not wait for hashlib, random and zipfile.
    from neuropod_worker.package.archive import extracted
    from neuropod_worker.package.manifest import verify_manifest

    path = os.path.abspath(path_text("the path of a package", path))
    if os.path.isdir(path):
        verify_manifest(path, cache_dir)
        return read_package(path)
    if not os.path.exists(path):
        raise PackageError("there is no package at {}".format(path), path)
    if not os.path.isfile(path):
        raise PackageError("{} is neither a folder nor a regular file".format(path), path)
    if cache_dir is None:
        raise PackageError("{} is a zip file; a cache_dir to extract it into is needed".format(path), path)
    return read_package(extracted(path, cache_dir))._replace(source=path)


def read_package(directory: str) -> Package:
    """The package in a directory, not verified: for those who were handed the path of an opened package."""
    package = read_config(directory)
    if package.platform == "torchscript" and package.version_range == "*" and _is_old_torchscript(package):
        package = package._replace(version_range=_READERS_OF_OLD_TORCHSCRIPT)
    lock = package.file("requirements.lock")
    if os.path.exists(lock):
        try:
            with open(lock, encoding="utf-8") as file:
                package = package._replace(requirements_lock=file.read())
        except (OSError, UnicodeDecodeError) as error:
            raise PackageError("{} cannot be read: {}".format(lock, error), lock) from error
    return package


def _is_old_torchscript(package: Package) -> bool:
    import zipfile  # as above

    try:
        with zipfile.ZipFile(package.file("data", "model.pt")) as archive:
            return any(name.endswith("/model.json") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False  # whoever loads it says what is wrong
