"""Making folders out of resolutions: virtualenvs, and overlays for interpreters that are not ours to touch.

Both are named by the hash of what is in them. A failed or interrupted build leaves nothing.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import Requirement as Pin
from packaging.utils import canonicalize_name

from neuropod_ope.environment.candidates import Candidate
from neuropod_ope.environment.interpreters import Interpreter
from neuropod_ope.environment.resolve import Resolution
from neuropod_ope.environment.store import Store, content_name
from neuropod_ope.environment.uv import Uv

_log = logging.getLogger("neuropod_ope.environment")

# What a worker needs beyond numpy, which comes from the model's environment.
SUPPORT = ("msgpack>=1.0",)


def environment_name(resolution: Resolution, uv: Uv) -> str:
    return content_name(["environment", resolution.interpreter, resolution.pins, uv.index_options.facts])


def build_environment(
    resolution: Resolution, why: str, hashes: Mapping[str, tuple[str, ...]], uv: Uv, store: Store
) -> Path:
    """The virtualenv of a resolution, built unless it exists; ``hashes`` are those that a lock demands."""
    name = environment_name(resolution, uv)

    def fill(folder: Path, lock_fd: int) -> None:
        _announce(f"building environment {name} for {why}: {resolution.label}, in {store.root}")
        requirements = folder / "neuropod-requirements.txt"
        base = resolution.interpreter.path
        uv.run("venv", "--relocatable", "--no-project", "--python", base, folder, inherit=(lock_fd,))
        lines = [_with_hashes(pin, hashes) for pin in resolution.pins]
        requirements.write_text("\n".join(lines), encoding="utf-8")
        where, allowed = ("--python", folder / "bin/python"), uv.package_arguments(resolution.source)
        uv.run("pip", "install", "--no-deps", *where, "-r", requirements, *allowed, show=True, inherit=(lock_fd,))

    return store.ensure("environments", name, _facts(resolution, why), fill)


def _announce(what: str) -> None:
    """In the log; without one where uv's progress is shown, which does not say what it is for."""
    _log.info(what)
    if not _log.isEnabledFor(logging.INFO) and sys.stderr is not None:
        print(what, file=sys.stderr, flush=True)


def support_candidate(interpreter: Interpreter) -> Candidate:
    """The overlay of an interpreter, to be resolved."""
    return Candidate(interpreter, SUPPORT, (), (), f"support packages for Python {interpreter.minor}")


def support_name(resolution: Resolution) -> str:
    one = resolution.interpreter
    abi = [one.implementation, one.minor, one.abi, one.platform, one.libc]
    return content_name(["support", abi, resolution.pins])


def build_support(resolution: Resolution, uv: Uv, store: Store) -> Path:
    """The folder with the support packages, shared by all interpreters of one ABI."""

    def fill(folder: Path, lock_fd: int) -> None:
        _log.info("building %s in %s", resolution.label, store.root)
        where = ("--python", resolution.interpreter.path, "--target", folder)
        what = (*resolution.pins, *uv.package_arguments(()))
        uv.run("pip", "install", "--no-deps", *where, *what, inherit=(lock_fd,))

    return store.ensure("support", support_name(resolution), _facts(resolution, resolution.label), fill)


def _with_hashes(pin: str, hashes: Mapping[str, tuple[str, ...]]) -> str:
    demanded = hashes.get(canonicalize_name(Pin(pin).name), ())
    return " ".join([pin, *(f"--hash={value}" for value in demanded)])


def _facts(resolution: Resolution, why: str) -> dict[str, object]:
    return {
        "for": why,
        "label": resolution.label,
        "interpreter": resolution.interpreter._asdict(),
        "pins": resolution.pins,
        "built": time.time(),
    }
