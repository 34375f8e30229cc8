"""The socket between client and worker: the handshake, descriptors, and death (its end).

A message is a length (u32, little-endian) and the bytes of `wire.codec`. Hello comes with the descriptors of
HELLO_DESCRIPTORS as one SCM_RIGHTS message, File with one.
"""

import array
import os
import socket
import struct
import time
from typing import List, Optional, Tuple

from neuropod_worker.wire.codec import ProtocolViolation, decode, encode
from neuropod_worker.wire.messages import Message

# In this order; the last four only where the doorbell is "pipe".
HELLO_DESCRIPTORS = ("control", "request arena", "reply arena", "lifeline")
PIPE_DESCRIPTORS = ("request bell read", "request bell write", "reply bell read", "reply bell write")

_LENGTH = struct.Struct("<I")
_LONGEST = 65536
_MOST_DESCRIPTORS = len(HELLO_DESCRIPTORS) + len(PIPE_DESCRIPTORS)


class PeerGone(Exception):
    """The peer closed the socket."""


def send(sock: socket.socket, message: Message, descriptors: Tuple[int, ...] = (), wait: bool = True) -> None:
    """Send one message. Raises PeerGone; BlockingIOError if there is no room for it and it must not ``wait``."""
    data = encode(message)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        sock.sendmsg([_LENGTH.pack(len(data)) + data], rights, 0 if wait else socket.MSG_DONTWAIT)
    except (BrokenPipeError, ConnectionResetError):
        raise PeerGone from None


def receive(sock: socket.socket, deadline: Optional[float] = None) -> Tuple[Message, List[int]]:
    """The next message and its descriptors (close-on-exec).

    Raises PeerGone, socket.timeout after ``deadline`` (time.monotonic), ProtocolViolation. Descriptors that
    came with a message that is refused are closed.
    """
    descriptors: List[int] = []
    try:
        data = b""
        length = None
        while length is None or len(data) < _LENGTH.size + length:
            if deadline is not None:
                sock.settimeout(max(deadline - time.monotonic(), 1e-6))
            missing = (_LENGTH.size if length is None else _LENGTH.size + length) - len(data)
            room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
            try:
                chunk, ancillary, _, _ = sock.recvmsg(missing, room)
            except ConnectionResetError:
                raise PeerGone from None
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    received = array.array("i")
                    received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
                    descriptors += received
            if not chunk:
                raise PeerGone
            data += chunk
            if length is None and len(data) == _LENGTH.size:
                length = _LENGTH.unpack(data)[0]
                if length > _LONGEST:
                    raise ProtocolViolation("a handshake message of {} bytes".format(length))
        for fd in descriptors:
            os.set_inheritable(fd, False)
        return decode(data[_LENGTH.size :]), descriptors
    except BaseException:  # undo, then re-raise
        for fd in descriptors:
            os.close(fd)
        raise
