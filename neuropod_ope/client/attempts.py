"""How often a request was sent to workers that died. Pure."""

from __future__ import annotations


class Attempts:
    """``sent`` is the number that its next message carries; some of those that were lost had been ``begun``."""

    __slots__ = ("begun", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.begun = 0

    @property
    def not_begun(self) -> int:
        return self.sent - self.begun

    def count(self, begun: bool) -> None:
        """One was lost."""
        self.sent += 1
        self.begun += begun
