"""Who may say what when: one table for each thing that lives. A missing key is the violation.

`docs/protocol.md` shows these tables. Both sides walk the handshake of CONNECTION, the client walks REQUEST, the
worker walks MODEL, so the diagrams cannot drift from the code.
"""

from typing import Any, Dict, Tuple

from neuropod_worker.wire.codec import ProtocolViolation
from neuropod_worker.wire.messages import (
    Announce,
    Cancel,
    Cancelled,
    CloseFile,
    Failed,
    File,
    Hello,
    Infer,
    Load,
    Loaded,
    Refused,
    Result,
    Shutdown,
    Trim,
    Unload,
    Unloaded,
    Welcome,
)

Table = Dict[str, Dict[Any, str]]

# One incarnation of a worker.
CONNECTION: Table = {
    "started": {Hello: "greeted"},
    "greeted": {Welcome: "open", Refused: "closed"},
    "open": {
        Load: "open",
        Infer: "open",
        Cancel: "open",
        Unload: "open",
        File: "open",
        Announce: "open",
        CloseFile: "open",
        Trim: "open",
        Loaded: "open",
        Result: "open",
        Failed: "open",
        Unloaded: "open",
        Cancelled: "open",
        Shutdown: "closing",
    },
    "closing": {
        Loaded: "closing",
        Result: "closing",
        Failed: "closing",
        Unloaded: "closing",
        Cancelled: "closing",
    },
    "closed": {},
}

# One request, as the client sees it.
REQUEST: Table = {
    "new": {Load: "loading", Infer: "running", Unload: "unloading"},
    "loading": {Loaded: "done", Failed: "done"},
    "running": {Result: "done", Failed: "done", Cancel: "cancelling"},
    "cancelling": {Result: "done", Failed: "done", Cancelled: "done"},
    "unloading": {Unloaded: "done", Failed: "done"},
    "done": {},
}

# One model id, as the worker sees it. A Load that fails leaves the id absent.
MODEL: Table = {
    "absent": {Load: "loading"},
    "loading": {Loaded: "ready", Failed: "absent"},
    "ready": {Infer: "ready", Result: "ready", Failed: "ready", Cancelled: "ready", Unload: "unloading"},
    "unloading": {Unloaded: "absent", Failed: "absent"},
}

TABLES: Tuple[Tuple[str, Table], ...] = (("connection", CONNECTION), ("request", REQUEST), ("model", MODEL))


def step(table: Table, state: str, kind: Any) -> str:
    """The state after a message of type ``kind``. Raises ProtocolViolation where the table has no entry."""
    try:
        return table[state][kind]
    except KeyError:
        allowed = ", ".join(entry.__name__ for entry in table[state]) or "nothing"
        raise ProtocolViolation(
            "{} is not allowed in state {!r}; allowed: {}".format(kind.__name__, state, allowed)
        ) from None
