"""SHA-256 of files, remembered on disk so that gigabytes are not read again at every start."""

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from typing import Optional

_CHUNK_BYTES = 1 << 20
# Below this size hashing costs no more than looking up what is remembered.
_REMEMBERED_FROM_BYTES = 1 << 20
# A file changed this recently may change again within one tick of its time stamp.
_SETTLED_AFTER_S = 2.0


def file_sha256(path: str, cache_dir: Optional[str] = None) -> str:
    """The SHA-256 of a file in hex.

    With a ``cache_dir`` it is remembered there for the file's (path, inode, size, mtime).
    """
    facts = os.stat(path)
    if cache_dir is None or facts.st_size < _REMEMBERED_FROM_BYTES:
        return _sha256(path)
    identity = [os.path.realpath(path), facts.st_ino, facts.st_size, facts.st_mtime_ns]
    name = hashlib.sha256(os.fsencode(str(identity[0]))).hexdigest() + ".json"
    memo = os.path.join(cache_dir, "hashes", name)
    try:
        with open(memo, encoding="utf-8") as file:
            remembered = json.load(file)
        if remembered["identity"] == identity:
            return str(remembered["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never seen, or a memo that is damaged: both mean hashing
    digest = _sha256(path)
    if time.time() - facts.st_mtime > _SETTLED_AFTER_S:
        with suppress(OSError):  # a cache that cannot be written to remembers nothing
            os.makedirs(os.path.dirname(memo), exist_ok=True)
            descriptor, staged = tempfile.mkstemp(dir=os.path.dirname(memo))
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"identity": identity, "sha256": digest}, file)
            os.replace(staged, memo)
    return digest


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()
