"""The line in front of a worker's mailbox slots. Pure: no thread, no clock, no I/O.

Room for a request goes to whoever has waited longest for it. A caller that finds somebody in line, or no room,
joins at the end; so a newcomer never overtakes, and of many threads each gets its turn.
"""

from __future__ import annotations

from collections import deque


class Turn:
    """A place in line, awaited like a call: ``done`` when its holder may try to send. ``owner`` is what that one
    awaits in its place, if it awaits more than this."""

    __slots__ = ("done", "owner")

    def __init__(self, owner: object | None) -> None:
        self.done = False
        self.owner = owner


class Line:
    """First come, first served. Whoever owns it guards it with a lock. ``turns``: of those who wait, in order."""

    def __init__(self) -> None:
        self.turns: deque[Turn] = deque()

    def blocks(self, turn: Turn | None) -> bool:
        """Whether somebody is before ``turn``; before a newcomer (None) is everybody."""
        return bool(self.turns) and self.turns[0] is not turn

    def join(self, owner: object | None = None) -> Turn:
        turn = Turn(owner)
        self.turns.append(turn)
        return turn

    def leave(self, turn: Turn) -> None:
        """Give a place up, or go after having sent. Does nothing for one that has left already."""
        if turn in self.turns:
            self.turns.remove(turn)

    def call_first(self) -> Turn | None:
        """There is room: whose turn it is now; None if nobody waits."""
        if not self.turns:
            return None
        self.turns[0].done = True
        return self.turns[0]

    def dissolve(self) -> list[Turn]:
        """There will never be room: all may go."""
        gone = list(self.turns)
        self.turns.clear()
        for turn in gone:
            turn.done = True
        return gone
