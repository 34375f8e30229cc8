"""Writes a crash capsule for each call that killed its worker or was too late, if the user asked for them."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import numpy as np

from neuropod_ope.capsule import Capsule
from neuropod_ope.client.executor import Request
from neuropod_ope.errors import InferTimeout, WorkerDied
from neuropod_worker.backends import LoadOptions

Redact = Callable[[str, np.ndarray], "np.ndarray | None"]

_MOST = 16  # of one model: a crash loop must not fill the disk
_LONGEST_NAME = 100  # of a file 255 bytes at most
_log = logging.getLogger("neuropod_ope.supervisor")


class CapsuleWriter:
    """``folder`` is made if need be. ``redact`` gets a copy of each input and gives what is to be stored in its
    place, None to leave it out. ``lock`` gives what is installed in the environment, when that is to be written."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        redact: Redact | None,
        model: str,
        package: str,
        options: dict[str, Any],
        python: str,
        lock: Callable[[], str],
    ) -> None:
        self._folder = os.path.abspath(folder)
        self._redact = redact
        self._model = model
        self._package = os.path.abspath(package)
        self._options = options
        self._python = python
        self._environment_lock = lock
        self._lock = threading.Lock()
        self._written = 0

    def write(self, error: WorkerDied | InferTimeout, request: Request) -> None:
        """Write the call and its error, and say so in the error. What keeps it from being written is logged."""
        with self._lock:
            self._written += 1
            number = self._written
        if number > _MOST:
            _log.warning("model %r has left %d crash capsules and leaves no more", self._model, _MOST)
            return
        now = datetime.now(timezone.utc)
        model = re.sub(r"[^\w.-]", "_", self._model, flags=re.ASCII)[:_LONGEST_NAME]
        path = os.path.join(self._folder, f"{model}-{now:%Y%m%dT%H%M%S}-{os.getpid()}-{number}.capsule")
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            self._capsule(error, request, now.isoformat()).write(path)
        # The hook is the user's, and neither it nor a full disk must hide the error that the caller waits for.
        except (Exception, SystemExit):
            _log.exception("no crash capsule was written for model %r", self._model)
            return
        error.capsule = path
        error.args = (f"{error}\nIts inputs are in {path}: neuropod-ope replay runs them again.", *error.args[1:])

    def _capsule(self, error: WorkerDied | InferTimeout, request: Request, when: str) -> Capsule:
        inputs = {}
        for name, array in request.inputs.items():
            stored = array if self._redact is None else self._redact(name, array.copy())
            if stored is not None:
                inputs[name] = stored
        return Capsule(
            model=self._model,
            package=self._package,
            when=when,
            error_type=type(error).__name__,
            error=str(error),
            requested=None if request.requested is None else list(request.requested),
            left_out=[name for name in request.inputs if name not in inputs],
            options=self._options,
            python=self._python,
            inputs=inputs,
            environment_lock=self._environment_lock(),
            stacks=error.stacks,
            stderr="\n".join(error.stderr) if isinstance(error, WorkerDied) else "",
        )


def replayed(options: LoadOptions) -> dict[str, Any]:
    """The options of `load_neuropod` that a replay needs."""
    return {
        "visible_gpu": options.visible_gpu,
        "load_custom_ops": options.load_custom_ops,
        "validate": options.validate,
    }
