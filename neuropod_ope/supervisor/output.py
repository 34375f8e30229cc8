"""What a worker prints, as lines in the application's log. Nobody ever blocks on these pipes."""

from __future__ import annotations

import os
from collections.abc import Callable

_LONGEST_LINE = 8192
_READ_AT_ONCE = 65536
_MOST_AFTER_DEATH = 2**20  # a forked child that survives may write for ever


class OutputPipe:
    """The read end of a worker's stdout or stderr; ``on_line`` gets each line, cut at 8 KiB."""

    def __init__(self, fd: int, on_line: Callable[[str], None]) -> None:
        self.fd = fd
        self._on_line = on_line
        self._partial = b""
        os.set_blocking(fd, False)

    def read(self) -> bool:
        """Take some of what is there. False at the end of the stream; BlockingIOError if nothing is there."""
        data = os.read(self.fd, _READ_AT_ONCE)
        *lines, self._partial = (self._partial + data).split(b"\n")
        if self._partial and (not data or len(self._partial) > _LONGEST_LINE):
            lines, self._partial = [*lines, self._partial], b""
        for line in lines:
            self._on_line(line[:_LONGEST_LINE].decode("utf-8", "replace").rstrip("\r"))
        return bool(data)

    def read_rest(self) -> None:
        """Take what a dead worker left, without waiting for the end: its children may hold the pipe open."""
        try:
            for _ in range(_MOST_AFTER_DEATH // _READ_AT_ONCE):
                if not self.read():
                    return
        except BlockingIOError:
            self._on_line(self._partial.decode("utf-8", "replace"))
            self._partial = b""
