"""Packages as zip files: equal content gives equal bytes, and every member is checked before extraction."""

import fcntl
import os
import shutil
import stat
import zipfile
from typing import Set

from neuropod_worker.errors import PackageError
from neuropod_worker.package.fingerprint import file_sha256
from neuropod_worker.package.manifest import package_files, verify_manifest

FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_CHUNK_BYTES = 1 << 20
_UNIX_MODE_SHIFT = 16  # where a member's external attributes hold its st_mode


def write_archive(directory: str, path: str, compress: bool) -> None:
    """Zip a directory tree: sorted entries, fixed times and permissions, files only."""
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        for relative in package_files(directory):
            member = zipfile.ZipInfo(relative, FIXED_TIME)
            member.compress_type = method
            member.external_attr = 0o644 << _UNIX_MODE_SHIFT
            source_path = os.path.join(directory, relative)
            member.file_size = os.path.getsize(source_path)  # decides whether zip64 is needed
            with open(source_path, "rb") as source, archive.open(member, "w") as target:
                shutil.copyfileobj(source, target, _CHUNK_BYTES)


def extracted(path: str, cache_dir: str) -> str:
    """The folder with a zipped package's content, extracted on first use and shared by content afterwards.

    Safe from several processes at once: the lock dies with its holder, whose staged rest the next one
    removes. Raises ``PackageError`` for anything that is not a plain archive of files.
    """
    root = os.path.join(cache_dir, "packages")
    try:
        target = os.path.join(root, file_sha256(path, cache_dir))
    except OSError as error:
        raise PackageError("{} cannot be read: {}".format(path, error), path) from error
    if os.path.isdir(target):
        return target
    try:
        os.makedirs(root, exist_ok=True)
        lock = open(target + ".lock", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        message = (
            "{} is a zip file, and the cache folder {} to extract it into cannot be written to: {}. Make it "
            "writable or name another one (NEUROPOD_OPE_CACHE, or cache_dir=), or unzip the package yourself"
        )
        raise PackageError(message.format(path, cache_dir, error), path) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(target):
            staged = target + ".staged"
            shutil.rmtree(staged, ignore_errors=True)
            try:
                _extract(path, staged)
                verify_manifest(staged)
                os.rename(staged, target)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
    return target


def _extract(path: str, target: str) -> None:
    if not zipfile.is_zipfile(path):
        message = "{} is no neuropod package: it is neither a folder nor a zip file, or it is a damaged one"
        raise PackageError(message.format(path), path)
    try:
        # Zips hold no empty folders, but models are promised a data folder.
        os.makedirs(os.path.join(target, "0", "data"))
        with zipfile.ZipFile(path) as archive:
            seen: Set[str] = set()
            for member in archive.infolist():
                _check_member(path, member, seen)
            archive.extractall(target)
    except PackageError:
        raise
    except Exception as error:  # damage shows as any error of zipfile, zlib, lzma, struct or codecs
        message = "{} cannot be extracted into {}: {}"
        raise PackageError(message.format(path, os.path.dirname(target), error), path) from error


def _check_member(path: str, member: zipfile.ZipInfo, seen: Set[str]) -> None:
    name = member.filename.rstrip("/")
    parts = name.split("/")
    # On many file systems, and to every reader, names that differ by these only are the same.
    same = "/".join(part.rstrip(" ") for part in parts)
    if "\0" in member.orig_filename:  # from where on zipfile drops it
        problem = "has a NUL in its name"
    elif not name or member.filename.startswith("/") or "\\" in name or ":" in parts[0]:
        problem = "has an absolute or foreign path"
    elif ".." in parts or "." in parts or "" in parts:
        problem = "has a path that is not plain"
    elif stat.S_ISLNK(member.external_attr >> _UNIX_MODE_SHIFT):
        problem = "is a symbolic link"
    elif same in seen:
        problem = "occurs twice, but for spaces at the end"
    else:
        seen.add(same)
        return
    raise PackageError("{} is not a safe package: member {!r} {}".format(path, member.orig_filename, problem), path)
