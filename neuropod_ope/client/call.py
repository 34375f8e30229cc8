"""One request in flight, and who is told when it is done."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from neuropod_ope.client.executor import Request


class Finisher(Protocol):
    """Awaited in place of the calls that it has sent. ``finished`` is called as soon as one of them is done, in any
    thread and under the connection's lock."""

    @property
    def done(self) -> bool: ...

    def finished(self, call: Call) -> None: ...


class Call:
    """One request in flight. Once it is ``done``, ``reply`` is set, or the connection has ended.

    ``inputs`` are its inputs where they lie in the request arena, in the order of the request's, None where the
    worker reads the caller's in place; ``finisher`` is told if nobody waits for the call itself.
    """

    __slots__ = ("done", "finisher", "inputs", "model", "outputs", "reply", "request", "state")

    def __init__(self, model: int, request: int, state: str, finisher: Finisher | None) -> None:
        self.model = model
        self.request = request
        self.state = state
        self.done = False
        self.finisher = finisher
        self.inputs: tuple[np.ndarray | None, ...] = ()
        self.reply: Any = None
        self.outputs: dict[str, np.ndarray] = {}

    def detached(self, request: Request) -> Request:
        """``request`` with inputs of its own, for sending it again when the caller's arrays may have changed.

        They are those in the request arena, which nobody else gets while this call may have to be sent again. Text
        lies there encoded, so that is copied. Arrays that the worker reads in place are lent for as long.
        """
        if not self.inputs:  # never sent
            arrays = [array.copy() for array in request.inputs.values()]
        else:
            pairs = zip(request.inputs.values(), self.inputs, strict=True)
            arrays = [array if view is None else array.copy() if _is_text(array) else view for array, view in pairs]
        return request._replace(inputs=dict(zip(request.inputs, arrays, strict=True)))


def _is_text(array: np.ndarray) -> bool:
    return array.dtype.kind == "U"
