"""The life of one worker process, as one table. `docs/protocol.md` shows it.

The names on the left are what `WorkerInfo.state` shows.
"""

from __future__ import annotations

STATES: dict[str, dict[str, str]] = {
    "starting": {"welcomed": "ready", "died": "dead", "closed": "closing"},
    "ready": {"died": "dead", "closed": "closing"},
    "closing": {"died": "dead"},
    "dead": {},
}


def after(state: str, event: str) -> str:
    """The state after ``event``. KeyError where the table has no entry: a bug of ours."""
    return STATES[state][event]
