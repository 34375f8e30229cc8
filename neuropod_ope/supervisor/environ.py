"""Which environment variables a worker is started with. Pure.

A package's code runs in the worker, so secrets of the application stay out: variables come from an allow-list.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from neuropod_ope.supervisor.processors import THREAD_VARIABLES

ALLOWED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_*", "XDG_*",
    "LD_LIBRARY_PATH", "DYLD_*", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "CUDA_*", "NVIDIA_*", "ROCR_*", "HIP_*",
    "OMP_*", "MKL_*", "OPENBLAS_*", "GOTO_*", "NUMEXPR_*", "KMP_*",
    "TF_*", "XLA_*", "TORCH_*", "PYTORCH_*", "JAX_*", "KERAS_*",
)  # fmt: skip


class WorkerEnviron(NamedTuple):
    """The variables for a worker, and the names of those that it does not get."""

    variables: dict[str, str]
    dropped: frozenset[str]


def worker_environ(
    environ: Mapping[str, str], allow: Iterable[str], visible_gpu: int | None, threads: int | None = None
) -> WorkerEnviron:
    """The environment of a worker. ``allow`` adds names or patterns; ``visible_gpu`` is an index among the GPUs
    that the application sees, ``None`` hides all of them; ``threads`` is for the libraries that ask for a number."""
    patterns = (*ALLOWED, *allow)
    kept = {
        name: value
        for name, value in environ.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
    dropped = frozenset(environ) - frozenset(kept)
    # A Python 3.6 without a UTF-8 locale opens files as ASCII.
    locale = kept.get("LC_ALL") or kept.get("LC_CTYPE") or kept.get("LANG") or ""
    if "utf" not in locale.lower():
        kept["LC_ALL"] = "C.UTF-8"
    if threads is not None:
        kept.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    kept["CUDA_VISIBLE_DEVICES"] = _visible_device(kept.get("CUDA_VISIBLE_DEVICES"), visible_gpu)
    return WorkerEnviron(kept, dropped)


def _visible_device(ours: str | None, wanted: int | None) -> str:
    if wanted is None:
        return ""
    if ours is None:
        return str(wanted)
    devices = [device for device in ours.split(",") if device]
    if wanted < len(devices):
        return devices[wanted]
    if wanted == 0:  # the default: a GPU if there is one
        return ""
    raise ValueError(f"visible_gpu={wanted}, but this application sees {len(devices)} GPU(s): {ours!r}")
