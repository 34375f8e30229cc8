"""The messages of the protocol, as immutable types. `docs/protocol.md` is generated from this module.

Every message that goes through a mailbox starts with the same six fields:

``incarnation``  which life of the worker this belongs to; a mailbox is never reused by another one
``model``        id of the model within the worker; several models may share one
``request``      id of the request, unique within an incarnation; a reply repeats it
``attempt``      0, or how often this request was replayed
``released``     ids of frames of the *receiver* that the sender will not read again
``retired``      ids of frames of the *sender* that will not be used again, so that their views can be dropped

A *frame* is a set of tensors at fixed places in the sender's arena. The message that uses a frame for the
first time defines it (``tensors``); later ones name its id only (``tensors`` is ``None``), and both sides
reuse their views. A frame belongs to the receiver from the message that carries it until its id comes back
in ``released``.

Replies carry the worker's timestamps ``received``, ``started``, ``finished`` and ``replied``: CLOCK_MONOTONIC in
nanoseconds, one clock for all processes; 0 where the request did not get so far.
"""

from typing import Any, NamedTuple, Optional, Tuple

PROTOCOL_VERSION = 1

# Where a tensor lies is a tagged union, so that later kinds of place need no new message.
IN_ARENA = 0  # (IN_ARENA, offset, nbytes): in the sender's arena
IN_FILE = 1  # (IN_FILE, offset, nbytes, file): in a file that a `File` introduced


class Tensor(NamedTuple):
    """One tensor of a frame. ``shape`` holds sizes; a string tensor's bytes are described in `shm.strings`."""

    name: str
    dtype: str
    shape: Tuple[int, ...]
    place: Tuple[int, ...]

    @property
    def offset(self) -> int:
        return self.place[1]

    @property
    def nbytes(self) -> int:
        return self.place[2]


class Hello(NamedTuple):
    """Client to worker on the socket, first message, with the descriptors that `shm.channel` names."""

    protocol: int
    incarnation: int
    doorbell: str
    lifeline: str
    arena_size: int
    libc: str
    wait: str


class Welcome(NamedTuple):
    """Worker to client on the socket: the worker has mapped everything and serves its mailbox."""

    protocol: int
    incarnation: int
    pid: int
    python_version: str
    numpy_version: str


class Refused(NamedTuple):
    """Worker to client on the socket, in place of Welcome: why this worker cannot serve this client."""

    protocol: int
    reason: str


class File(NamedTuple):
    """Client to worker on the socket, with one descriptor: ``size`` bytes of it hold tensors of messages to come."""

    protocol: int
    file: int
    size: int
    writable: bool


class Load(NamedTuple):
    """Load the package in directory ``path`` as ``model``."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]
    path: str
    visible_gpu: Optional[int]
    load_custom_ops: bool
    validate: bool


class Infer(NamedTuple):
    """Run ``model`` on the tensors of ``frame``. ``requested`` names the outputs wanted, ``None`` means all."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]
    frame: int
    tensors: Optional[Tuple[Tensor, ...]]
    requested: Optional[Tuple[str, ...]]


class Cancel(NamedTuple):
    """Do not start ``request``. Answered by the request's own reply: Cancelled, or what it came to."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]


class Unload(NamedTuple):
    """Drop ``model``."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]


class Announce(NamedTuple):
    """``tensors`` will be inputs of ``model``: map them and touch their pages. Not answered."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]
    tensors: Optional[Tuple[Tensor, ...]]


class CloseFile(NamedTuple):
    """``file`` holds no more tensors: unmap it. Frames in it were retired. Not answered."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]
    file: int


class Trim(NamedTuple):
    """Give memory that no frame needs back to the system. Not answered."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]


class Shutdown(NamedTuple):
    """Finish what was received before and exit with status 0. Not answered: the socket's end says it."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]


class Loaded(NamedTuple):
    """The model answers from now on. ``imported``: when its framework was there, between started and finished."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]
    received: int
    started: int
    finished: int
    replied: int
    imported: int
    platform_version: str


class Result(NamedTuple):
    """The outputs of a request, in a frame of the worker's arena."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]
    received: int
    started: int
    finished: int
    replied: int
    frame: int
    tensors: Optional[Tuple[Tensor, ...]]


class Failed(NamedTuple):
    """A request failed and the worker goes on. ``kind`` is one of FAILURES; the rest describes the exception.
    ``facts``: of a spec failure the tensor, of a package failure the path, of a memory failure the bytes that were
    wanted and those in use, in decimal; else nil."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]
    received: int
    started: int
    finished: int
    replied: int
    kind: str
    remote_type: str
    message: str
    traceback: str
    facts: Optional[Tuple[str, ...]]


class Unloaded(NamedTuple):
    """The model is gone."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]
    received: int
    started: int
    finished: int
    replied: int


class Cancelled(NamedTuple):
    """The request was cancelled before it was started."""

    incarnation: int
    model: int
    request: int
    attempt: int
    released: Tuple[int, ...]
    retired: Tuple[int, ...]
    received: int
    started: int
    finished: int
    replied: int


REPLIES = frozenset({Loaded, Result, Failed, Unloaded, Cancelled})

# What a Failed is about: the model's own exception, a tensor against its spec, the package, the load, memory.
MODEL, SPEC, PACKAGE, LOAD, MEMORY = FAILURES = ("model", "spec", "package", "load", "memory")

KINDS = {
    1: Load,
    2: Infer,
    3: Cancel,
    4: Unload,
    5: Shutdown,
    6: CloseFile,
    7: Trim,
    8: Announce,
    17: Loaded,
    18: Result,
    19: Failed,
    20: Unloaded,
    21: Cancelled,
    33: Hello,
    34: Welcome,
    35: Refused,
    36: File,
}

Message = Any  # one of the types in KINDS; typing.Union of them tells mypy nothing that NamedTuple does not
