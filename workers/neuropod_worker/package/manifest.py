"""``manifest.json``: the SHA-256 of every file of a package but itself. It finds damage, not malice."""

import json
import os
from typing import List, Optional

from neuropod_worker.errors import PackageError
from neuropod_worker.package.config import read_json
from neuropod_worker.package.fingerprint import file_sha256

MANIFEST = "manifest.json"
_VERSION = 1


def package_files(directory: str) -> List[str]:
    """The paths of all files under a directory, relative and with ``/``, sorted."""
    found = []
    for folder, _, names in os.walk(directory):
        for name in names:
            found.append(os.path.relpath(os.path.join(folder, name), directory).replace(os.sep, "/"))
    return sorted(found)


def write_manifest(directory: str) -> None:
    files = {path: file_sha256(os.path.join(directory, path)) for path in package_files(directory)}
    with open(os.path.join(directory, MANIFEST), "w", encoding="utf-8") as file:
        json.dump({"manifest_version": _VERSION, "files": files}, file, indent=4, sort_keys=True)


def verify_manifest(directory: str, cache_dir: Optional[str] = None) -> None:
    """Raise ``PackageError`` if a listed file is missing or has changed. Without a manifest all is well."""
    if not os.path.exists(os.path.join(directory, MANIFEST)):
        return
    manifest = read_json(directory, MANIFEST)
    files = manifest.get("files")
    if manifest.get("manifest_version") != _VERSION or not isinstance(files, dict):
        path = os.path.join(directory, MANIFEST)
        raise PackageError("{} is not a manifest of version {}".format(path, _VERSION), path)
    for relative, expected in files.items():
        path = os.path.join(directory, relative)
        if "\0" in relative or not os.path.isfile(path):
            raise PackageError("{} is in the manifest, but missing: {}".format(relative, directory), path)
        try:
            found = file_sha256(path, cache_dir)
        except OSError as error:
            raise PackageError("{} cannot be read: {}".format(path, error), path) from error
        if found != expected:
            raise PackageError("{} is not what the manifest of {} says".format(relative, directory), path)
