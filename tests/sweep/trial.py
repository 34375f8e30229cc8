"""One version tried: resolved, built, a model packaged there, answers out of process compared, all deleted."""

import shutil
import tempfile
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matrix.locked import SCRIPTS, keras_package, packaged_by
from packaging.version import Version
from sweep.versions import Target, candidates_for

from neuropod_ope import NeuropodError, Runtime
from neuropod_ope.environment.build import build_environment
from neuropod_ope.environment.candidates import Candidate
from neuropod_ope.environment.resolve import NothingResolves, resolve
from neuropod_ope.environment.store import Store
from neuropod_ope.environment.uv import Uv

_BLOCK_BYTES = 512
_SHOWN_CHARS = 160
_SCRIPT = {"torchscript": SCRIPTS["torch"], "tensorflow": SCRIPTS["tf"]}
_BACKENDS = ("tensorflow", "tensorflow-cpu", "jax")


class Row(NamedTuple):
    """What came of it; ``outcome`` is "works" or what went wrong. ``backend`` is Keras's."""

    framework: str
    version: str
    python: str
    packages_of: str
    backend: str
    megabytes: int
    outcome: str


def tried(target: Target, uv: Uv, store: Store) -> Row | None:
    """None if no Python here has a wheel of it."""
    found = candidates_for(target, uv, store)
    if not found:
        return None
    try:
        resolution = resolve(found, (), uv, store)
    except NothingResolves as error:
        return _failed(target, found[0], f"does not resolve: {_cause(error.attempts[0].log)}")
    candidate = next(one for one in found if one.interpreter == resolution.interpreter)
    with tempfile.TemporaryDirectory(prefix="neuropod-sweep-") as scratch:
        try:
            built = build_environment(resolution, "the sweep", {}, uv, store)
        except NeuropodError as error:
            return _failed(target, candidate, f"cannot be built: {_last_line(error)}")
        try:
            outcome = _answers(target, built / "bin/python", Path(scratch), store.root)
            megabytes = sum(path.lstat().st_blocks for path in built.rglob("*")) * _BLOCK_BYTES // 1_000_000
        finally:
            shutil.rmtree(built)
    pins = {pin.split("==")[0]: pin for pin in resolution.pins}
    backend = next((pins[name] for name in _BACKENDS if name in pins), "")
    row = _failed(target, candidate, outcome)
    return row._replace(megabytes=megabytes, backend=backend if target.framework == "keras" else "")


def _answers(target: Target, python: Path, scratch: Path, cache: Path) -> str:
    try:
        if target.framework == "keras":
            package = keras_package(scratch)
        else:
            package = packaged_by(python, _SCRIPT[target.framework], scratch)
    except AssertionError as error:  # with what the packaging script printed
        return f"cannot be packaged with: {_last_line(error)}"
    try:
        with Runtime(cache_dir=cache) as runtime, runtime.load(package, environment=python, timeout=60) as model:
            x = np.float32([[1, 0, 0], [0, 1, 1]])
            right = np.allclose(model.infer({"x": x})["y"], [[1.5, 1.5], [8.5, 9.5]])
    except NeuropodError as error:
        return f"does not run: {_last_line(error)}"
    return "works" if right else "answers wrongly"


def _failed(target: Target, candidate: Candidate, outcome: str) -> Row:
    minor, cut = candidate.interpreter.minor, candidate.exclude_newer
    return Row(target.framework, str(Version(target.version)), minor, cut, "", 0, outcome)


def _cause(log: tuple[str, ...]) -> str:
    return _short(" ".join(log).rpartition("cause: ")[2])


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).split("assert ")[0].splitlines() if line.strip()]
    return _short(lines[-1] if lines else type(error).__name__)


def _short(text: str) -> str:
    return textwrap.shorten(text, _SHOWN_CHARS, placeholder=" …")
