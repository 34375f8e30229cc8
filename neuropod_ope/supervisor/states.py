"""What lives, as tables: a worker process, and a model that is kept loaded in one. `docs/` shows them.

WORKER's names are what `WorkerInfo.state` shows, MODEL's what `Event.state` shows.
"""

from __future__ import annotations

Table = dict[str, dict[str, str]]

WORKER: Table = {
    "starting": {"welcomed": "ready", "died": "dead", "closed": "closing"},
    "ready": {"died": "dead", "closed": "closing"},
    "closing": {"died": "dead"},
    "dead": {},
}

# "restart", "back off" and "give up" are what `restart.decide` says about a death; "failed" is a first load's.
MODEL: Table = {
    "new": {"start": "loading", "close": "closed"},
    "loading": {
        "loaded": "ready",
        "failed": "new",
        "restart": "loading",
        "back off": "waiting",
        "give up": "stopped",
        "close": "closed",
    },
    "ready": {
        "take over": "ready",
        "restart": "loading",
        "back off": "waiting",
        "give up": "stopped",
        "close": "closed",
    },
    "waiting": {"start": "loading", "take over": "ready", "close": "closed"},
    "stopped": {"start": "loading", "take over": "ready", "close": "closed"},
    "closed": {},
}


def after(table: Table, state: str, event: str) -> str:
    """The state after ``event``. KeyError where the table has no entry: a bug of ours."""
    return table[state][event]
