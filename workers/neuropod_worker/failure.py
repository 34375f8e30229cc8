"""An exception of a model as data, the same for a model in a worker and for one in the caller's process."""

from typing import NamedTuple, Optional, Tuple

from neuropod_worker.backends.backend import described
from neuropod_worker.errors import LoadError, PackageError, SpecError
from neuropod_worker.shm.arena import SharedMemoryExhausted
from neuropod_worker.wire import messages as m

_LONGEST_TEXT = 200000  # characters; a longer message or traceback is cut in its middle

_KINDS = (
    (SpecError, m.SPEC),
    (PackageError, m.PACKAGE),
    (LoadError, m.LOAD),
    (SharedMemoryExhausted, m.MEMORY),
)


class Failure(NamedTuple):
    """``kind`` is one of messages.FAILURES; the texts are valid UTF-8; ``facts`` as in messages.Failed."""

    kind: str
    remote_type: str
    message: str
    traceback: str
    facts: Optional[Tuple[str, ...]] = None


def failure_of(error: BaseException) -> Failure:
    """Describe ``error``, whatever the model's own exception class does when it is asked for its text."""
    kind = next((kind for error_type, kind in _KINDS if isinstance(error, error_type)), m.MODEL)
    remote_type, message, text = described(error)
    if isinstance(error, LoadError) and error.remote_traceback:
        remote_type, text = error.remote_type or remote_type, error.remote_traceback
    return Failure(kind, _plain(remote_type), _plain(message), _plain(text), _facts(error))


def _facts(error: BaseException) -> Optional[Tuple[str, ...]]:
    if isinstance(error, SharedMemoryExhausted):
        return str(error.wanted), str(error.in_use)
    fact = error.tensor if isinstance(error, SpecError) else error.path if isinstance(error, PackageError) else None
    return None if fact is None else (_plain(str(fact)),)


def _plain(text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        half = _LONGEST_TEXT // 2
        text = "{}\n... {} characters left out ...\n{}".format(text[:half], len(text) - 2 * half, text[-half:])
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
