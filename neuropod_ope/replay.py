"""A call from a crash capsule, made again out of process."""

from __future__ import annotations

import os
import sys

import numpy as np

from neuropod_ope.capsule import read_capsule
from neuropod_ope.runtime import Runtime, default_runtime

_TIMEOUT_S = 60.0


def replay_capsule(
    path: str | os.PathLike[str],
    package: str | os.PathLike[str] | None = None,
    *,
    runtime: Runtime | None = None,
    timeout: float | None = _TIMEOUT_S,
) -> dict[str, np.ndarray]:
    """The outputs of the call, if it ends well this time; else it raises, most often what it raised then.

    ``package``: where the model lies now, if not where it was. It runs with the options and the interpreter that it
    had, or with one that is found or built as usual if that is gone. ``timeout``: seconds for the call.
    Raises PackageError for a file that is no capsule, and what `load_neuropod` and `Neuropod.infer` raise.
    """
    capsule = read_capsule(path)
    with (runtime or default_runtime()).load(
        capsule.package if package is None else package,
        out_of_process=True,
        environment=_registered(capsule.python),
        timeout=timeout,
        **capsule.options,
    ) as model:
        return model.infer(capsule.inputs, capsule.requested)


def _registered(python: str) -> str | None:
    """To be named only if it is there, and if it would not be found anyhow."""
    return python if python != sys.executable and os.path.exists(python) else None
