"""SHA-256 of files, remembered on disk so that gigabytes are not read again at every start.

Imports hashlib and tempfile where they are used: workers import this module, and few of them hash.
"""

import json
import os
import time
from contextlib import suppress
from typing import Any, Dict, List, Optional

_FOLDER = "hashes"  # in the cache folder
_CHUNK_BYTES = 1 << 20
# Below this size hashing costs no more than looking up what is remembered.
_REMEMBERED_FROM_BYTES = 1 << 20
# A file changed this recently may change again within one tick of its time stamp.
_SETTLED_AFTER_S = 2.0


def file_sha256(path: str, cache_dir: Optional[str] = None) -> str:
    """The SHA-256 of a file in hex.

    With a ``cache_dir`` it is remembered there for as long as the file is what it was. Safe from several processes.
    """
    facts = os.stat(path)
    if cache_dir is None or facts.st_size < _REMEMBERED_FROM_BYTES:
        return _sha256(path)
    import hashlib
    import tempfile

    path = os.path.realpath(path)
    identity = _identity(path, facts)
    folder = os.path.join(cache_dir, _FOLDER)
    memo = os.path.join(folder, hashlib.sha256(os.fsencode(path)).hexdigest() + ".json")
    remembered = _read(memo)
    if remembered.get("identity") == identity:
        return str(remembered["sha256"])
    digest = _sha256(path)
    if time.time() - facts.st_mtime > _SETTLED_AFTER_S:
        with suppress(OSError):  # a cache that cannot be written to remembers nothing
            os.makedirs(folder, exist_ok=True)
            descriptor, staged = tempfile.mkstemp(dir=folder)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"identity": identity, "sha256": digest}, file)
            os.replace(staged, memo)
    return digest


def sweep_hashes(cache_dir: str) -> None:
    """Forget the hashes of files that are gone or have changed."""
    folder = os.path.join(cache_dir, _FOLDER)
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            memo = os.path.join(folder, name)
            with suppress(OSError):  # another process sweeps, or has renamed what it staged
                identity = _read(memo).get("identity")
                if not identity or identity != _identity_now(str(identity[0])):
                    os.unlink(memo)


def _identity(path: str, facts: os.stat_result) -> List[Any]:
    # Copying tools set the time of modification back; that of the last change cannot be set.
    return [path, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]


def _identity_now(path: str) -> Optional[List[Any]]:
    try:
        return _identity(path, os.stat(path))
    except OSError:
        return None


def _read(memo: str) -> Dict[str, Any]:
    """What a memo says; empty if there is none, or if it is damaged."""
    try:
        with open(memo, encoding="utf-8") as file:
            remembered = json.load(file)
    except (OSError, ValueError):
        return {}
    return remembered if isinstance(remembered, dict) and {"identity", "sha256"} <= set(remembered) else {}


def _sha256(path: str) -> str:
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()
