"""What a platform module provides, and how it reports a failed load.

A platform module has ``load(package, options) -> Backend``. Missing or wrong files of the package are
``PackageError``; whatever else keeps the model from loading is ``LoadError``.
"""

import traceback
from typing import Any, Dict, NamedTuple, Optional, Sequence

from neuropod_worker.errors import LoadError
from neuropod_worker.problem.checks import Arrays


class LoadOptions(NamedTuple):
    """How to load a model.

    ``visible_gpu``: index among the GPUs that this process sees, ``None`` for the CPU; without any GPU models
    run on the CPU. ``validate``: check outputs against the spec. ``own_process``: this process exists for
    models, so their code may stay visible in ``sys.path`` and ``sys.modules`` after the load, as pickles and
    process pools of the model's own like it; in an application's process nothing stays.
    """

    visible_gpu: Optional[int] = None
    load_custom_ops: bool = True
    validate: bool = True
    own_process: bool = False


class Backend:
    """A loaded model as its platform sees it. ``version``: of the platform's framework."""

    version = ""

    def infer(self, inputs: Arrays, requested: Optional[Sequence[str]]) -> Dict[str, Any]:
        """Run the model on arrays that fit the input spec, and return whatever outputs it gives.

        ``requested`` is a hint for platforms that can compute a subset. Exceptions of the model propagate
        raw.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Release what would not go with the last reference. A call may be running; no other one follows."""


class Described(NamedTuple):
    """A foreign exception as text."""

    type_name: str
    message: str
    traceback: str


def described(error: BaseException) -> Described:
    """Describe an exception of a model's own, whose class may do anything when it is asked for its text."""
    name = type(error).__name__
    try:
        message = str(error)
        lines = traceback.format_exception(type(error), error, error.__traceback__)
    except (Exception, SystemExit) as another:  # its __str__ may raise anything
        message = "(the text of the exception cannot be had: {})".format(type(another).__name__)
        lines = traceback.format_tb(error.__traceback__)
    return Described(name, message, "".join(lines))


def load_error(what_failed: str, error: BaseException, advice: str = "") -> LoadError:
    """A ``LoadError`` that carries what the model's code or framework raised.

    The loader puts the name of the model and the path of its package before it.
    """
    name, message, text = described(error)
    message = "{}: {}: {}{}".format(what_failed, name, message, advice)
    return LoadError(message, remote_type=name, remote_traceback=text)
