"""Running a tool whose progress a person may want to see, while keeping what it says.

On a terminal the tool gets a terminal of its own for stderr, so that it draws its progress bars, which are
passed on; elsewhere it writes plain lines. Nothing that it runs outlives the call, however that ends.
"""

from __future__ import annotations

import codecs
import errno
import fcntl
import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

_LOG_LINES = 60
_PATIENCE_S = 5
_READ_BYTES = 1 << 16
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b[=>]")


class Finished(NamedTuple):
    returncode: int
    stdout: str
    log: tuple[str, ...]


def run_shown(
    command: Sequence[str],
    environ: Mapping[str, str],
    show: bool,
    redact: Callable[[str], str],
    inherit: tuple[int, ...] = (),
) -> Finished:
    """Run to the end, passing stderr on to ours if ``show``; ``log`` is its tail as plain, redacted text."""
    ours = sys.stderr
    on_terminal = show and ours is not None and ours.isatty()
    theirs_end, child_end = _terminal_like(ours.fileno()) if on_terminal else os.pipe()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    log: deque[str] = deque(maxlen=_LOG_LINES)
    unfinished = ""
    with tempfile.TemporaryFile() as stdout, open(theirs_end, "rb", buffering=0) as stream:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=child_end,
                env=dict(environ),
                pass_fds=inherit,
            )
        finally:
            os.close(child_end)
        try:
            while chunk := _read(stream.fileno()):
                text = decoder.decode(chunk)
                if on_terminal:
                    ours.write(text)
                    ours.flush()
                *lines, unfinished = (unfinished + text).split("\n")
                for line in lines:
                    _note(redact(line), log)
                    if show and not on_terminal and ours is not None:
                        print(redact(line), file=ours, flush=True)
            _note(redact(unfinished), log)
            process.wait()
        finally:
            _end(process)
        stdout.seek(0)
        return Finished(process.returncode, stdout.read().decode("utf-8", "replace"), tuple(log))


def plain(line: str) -> str:
    """What a line looks like once a terminal has carried out its control sequences."""
    return _ANSI.sub("", line).rstrip("\r").rpartition("\r")[2].strip("\x00").rstrip()


def _note(line: str, log: deque[str]) -> None:
    text = plain(line)
    # A progress bar redraws the same line over and over.
    if text and (not log or log[-1] != text):
        log.append(text)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _READ_BYTES)
    except OSError as error:
        # A pseudo-terminal whose last writer is gone fails with EIO instead of giving an end of file.
        if error.errno != errno.EIO:
            raise
        return b""


def _terminal_like(descriptor: int) -> tuple[int, int]:
    theirs_end, child_end = pty.openpty()
    with suppress(OSError):
        size = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(child_end, termios.TIOCSWINSZ, size)
    return theirs_end, child_end


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
