"""The file of a call that killed its worker or was too late: everything that is needed to make it again elsewhere.

A zip file with ``capsule.json`` (the facts), ``inputs/N.npy``, ``environment.lock``, ``stacks.txt`` and
``stderr.txt``. Nothing in it is pickled, and reading it runs no code.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from neuropod_ope.errors import PackageError

_VERSION = 1
_FACTS, _LOCK, _STACKS, _STDERR = "capsule.json", "environment.lock", "stacks.txt", "stderr.txt"


@dataclass(frozen=True)
class Capsule:
    """A call and what came of it.

    ``package``: the path that the model was loaded from. ``when``: UTC, ISO 8601. ``error`` is the error's text and
    ``error_type`` its class. ``requested``: the outputs asked for. ``left_out``: inputs that the redaction hook
    removed. ``options`` are those of `load_neuropod`. ``python`` is the interpreter's path, ``environment_lock`` what
    was installed there.
    """

    model: str
    package: str
    when: str
    error_type: str
    error: str
    requested: list[str] | None
    left_out: list[str]
    options: dict[str, Any]
    python: str
    inputs: dict[str, np.ndarray] = field(repr=False)
    environment_lock: str = field(repr=False)
    stacks: str = field(repr=False)
    stderr: str = field(repr=False)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file, for its owner alone; it is there complete or not at all. Raises OSError, and ValueError for
        inputs that are Python objects."""
        target = os.path.abspath(path)
        descriptor, staged = tempfile.mkstemp(dir=os.path.dirname(target))
        try:
            with open(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                self._write_into(archive)
            os.replace(staged, target)
        except BaseException:  # undo, then re-raise
            os.unlink(staged)
            raise

    def _write_into(self, archive: zipfile.ZipFile) -> None:
        facts = {"version": _VERSION, **asdict(self)}
        arrays = facts.pop("inputs")
        texts = {_LOCK: facts.pop("environment_lock"), _STACKS: facts.pop("stacks"), _STDERR: facts.pop("stderr")}
        facts["inputs"] = list(arrays)  # names may be anything, so they are no names of members
        texts[_FACTS] = json.dumps(facts, indent=1)
        for name, text in texts.items():
            archive.writestr(name, text.encode("utf-8", "backslashreplace"))
        for index, array in enumerate(arrays.values()):
            with archive.open(_member(index), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def read_capsule(path: str | os.PathLike[str]) -> Capsule:
    """Read what `Capsule.write` wrote. Raises PackageError for anything else."""
    try:
        with zipfile.ZipFile(path) as archive:
            facts = json.loads(archive.read(_FACTS))
            if facts.pop("version") != _VERSION:
                raise ValueError(f"its version is not {_VERSION}")
            inputs = {}
            for index, name in enumerate(facts.pop("inputs")):
                with archive.open(_member(index)) as member:
                    inputs[name] = np.lib.format.read_array(member, allow_pickle=False)
            texts = [archive.read(name).decode("utf-8") for name in (_LOCK, _STACKS, _STDERR)]
        return Capsule(**facts, inputs=inputs, environment_lock=texts[0], stacks=texts[1], stderr=texts[2])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise PackageError(f"{os.fspath(path)} is no crash capsule: {error}", os.fspath(path)) from error


def _member(index: int) -> str:
    return f"inputs/{index}.npy"
