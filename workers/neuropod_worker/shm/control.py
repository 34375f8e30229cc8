"""The control segment: layout, mailboxes and the stats page. All numbers little-endian.

========== ===== ==========================================================================
offset     bytes content
========== ===== ==========================================================================
0          64    header: magic ``NPODCTRL``, layout version u32, slots u32, slot bytes u32
64         8     requests taken so far by the worker (u64)
128        8     replies taken so far by the client (u64)
4096       64    request doorbell (``sem_t``)
4160       64    reply doorbell (``sem_t``)
8192       4096  stats page, written by the worker alone
12288      n     request slots, then reply slots
========== ===== ==========================================================================

A slot holds a sequence number (u64, the first message is 1), a length (u32), a flag word (u32, 0) and a
message. The writer fills in the message and its length, then the sequence number, then rings. A message too long
for a slot lies in the sender's arena; its slot then has flag 1 and holds (frame id, offset, length), each u64.

Whatever the other process may read at any moment is written as one aligned u64, through a memoryview of format
``Q``: `struct` clears its target and writes byte by byte, so a reader could see a number that never was.
"""

import struct
from typing import NamedTuple, Optional

from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.wire.codec import ProtocolViolation

LAYOUT_VERSION = 1
SLOTS = 64
SLOT_SIZE = 1024

_MAGIC = b"NPODCTRL"
_HEADER = struct.Struct("<8sIII")
_ELSEWHERE = struct.Struct("<QQQ")
_SLOT_HEAD = 16  # bytes before a slot's message
_WORD = 8
_WORDS_PER_SLOT = SLOT_SIZE // _WORD
IN_SLOT, IN_ARENA = 0, 1

_REQUESTS_TAKEN, _REPLIES_TAKEN = 64, 128
REQUEST_BELL, REPLY_BELL = 4096, 4160
_STATS = 8192
_REQUEST_SLOTS = 12288
_REPLY_SLOTS = _REQUEST_SLOTS + SLOTS * SLOT_SIZE
CONTROL_SIZE = _REPLY_SLOTS + SLOTS * SLOT_SIZE

INLINE_LIMIT = SLOT_SIZE - _SLOT_HEAD  # bytes of the longest message that fits into a slot


def write_header(mapping: Mapping) -> None:
    """Prepare a zeroed control segment; the client does this before it starts the worker."""
    _HEADER.pack_into(mapping.buffer(0, _HEADER.size), 0, _MAGIC, LAYOUT_VERSION, SLOTS, SLOT_SIZE)


def check_header(mapping: Mapping) -> None:
    """Raise ProtocolViolation unless the segment has the layout of this version."""
    found = _HEADER.unpack(mapping.buffer(0, _HEADER.size))
    expected = (_MAGIC, LAYOUT_VERSION, SLOTS, SLOT_SIZE)
    if found != expected:
        raise ProtocolViolation("the control segment starts with {}, expected {}".format(found, expected))


class Elsewhere(NamedTuple):
    """A message that did not fit into its slot: where it lies in the sender's arena."""

    frame: int
    offset: int
    length: int


class Mailbox:
    """One direction: a ring of slots with one writer and one reader, each in its own process.

    Each side makes its own object and calls only its own half. Calls of one half are not thread-safe.
    """

    def __init__(self, mapping: Mapping, slots_at: int, taken_at: int) -> None:
        self._words = mapping.buffer(slots_at, SLOTS * SLOT_SIZE).cast("Q")
        self._messages = [
            mapping.buffer(slots_at + slot * SLOT_SIZE + _SLOT_HEAD, INLINE_LIMIT) for slot in range(SLOTS)
        ]
        self._taken_word = mapping.buffer(taken_at, _WORD).cast("Q")
        self.written = 0
        self._next = 0
        self._known_taken = 0

    # ---- the writer's half

    @property
    def full(self) -> bool:
        if self.written - self._known_taken < SLOTS:
            return False
        self._known_taken = self._taken_word[0]
        if not 0 <= self.written - self._known_taken <= SLOTS:
            raise ProtocolViolation(
                "the reader says it took {} messages of {}".format(self._known_taken, self.written)
            )
        return self.written - self._known_taken == SLOTS

    def put(self, message: bytes, flag: int = IN_SLOT) -> None:
        """Write a message of at most INLINE_LIMIT bytes into the next slot."""
        if self.full:
            raise ProtocolViolation("the peer has not taken the last {} messages".format(SLOTS))
        slot = self.written % SLOTS
        length = len(message)
        self._messages[slot][:length] = message
        self._words[slot * _WORDS_PER_SLOT + 1] = length | flag << 32
        self.written += 1
        self._words[slot * _WORDS_PER_SLOT] = self.written

    def put_elsewhere(self, place: Elsewhere) -> None:
        self.put(_ELSEWHERE.pack(*place), IN_ARENA)

    # ---- the reader's half

    def take(self) -> "Optional[bytes | Elsewhere]":
        """A copy of the next message, or None if there is none. Raises ProtocolViolation."""
        slot = self._next % SLOTS
        sequence = self._words[slot * _WORDS_PER_SLOT]
        if sequence != self._next + 1:
            if sequence > self._next + 1 or sequence < self._next + 1 - SLOTS:
                raise ProtocolViolation("slot {} has number {}".format(self._next + 1, sequence))
            return None
        word = self._words[slot * _WORDS_PER_SLOT + 1]
        length, flag = word & 0xFFFFFFFF, word >> 32
        if length > INLINE_LIMIT or flag not in (IN_SLOT, IN_ARENA):
            raise ProtocolViolation("slot {} has length {} and flag {}".format(sequence, length, flag))
        message = self._messages[slot][:length].tobytes()
        self._next += 1
        self._taken_word[0] = self._next
        if flag == IN_SLOT:
            return message
        if length != _ELSEWHERE.size:
            raise ProtocolViolation("slot {} refers to the arena with {} bytes".format(sequence, length))
        return Elsewhere(*_ELSEWHERE.unpack(message))


def request_mailbox(mapping: Mapping) -> Mailbox:
    return Mailbox(mapping, _REQUEST_SLOTS, _REQUESTS_TAKEN)


def reply_mailbox(mapping: Mapping) -> Mailbox:
    return Mailbox(mapping, _REPLY_SLOTS, _REPLIES_TAKEN)


assert CONTROL_SIZE % _WORD == 0
assert SLOT_SIZE % _WORD == 0
assert _HEADER.size <= _REQUESTS_TAKEN
assert _ELSEWHERE.size <= INLINE_LIMIT
assert REPLY_BELL - REQUEST_BELL >= 32, "a sem_t has 32 bytes on 64-bit glibc and musl"

# The steps of a worker, as the stats page shows them.
STEPS = ("starting", "waiting", "loading", "running")
STARTING, WAITING, LOADING, RUNNING = range(4)


class Stats(NamedTuple):
    """What a worker is doing and has done. Times are CLOCK_MONOTONIC nanoseconds, sums are nanoseconds."""

    pid: int
    step: int
    since: int
    model: int
    request: int
    completed: int
    failed: int
    busy: int


# On the page: the layout version, a sequence number that is odd while the writer writes, then `Stats`; all u64.
_STATS_WORDS = 2 + len(Stats._fields)
assert _STATS + _STATS_WORDS * _WORD <= _REQUEST_SLOTS


class StatsWriter:
    """The worker's half of the stats page."""

    def __init__(self, mapping: Mapping, pid: int) -> None:
        self._words = mapping.buffer(_STATS, _STATS_WORDS * _WORD).cast("Q")
        self._words[0] = LAYOUT_VERSION
        self._words[2] = pid
        self._sequence = 0
        self.completed = 0
        self.failed = 0
        self.busy = 0

    def show(self, step: int, since: int, model: int = 0, request: int = 0) -> None:
        words = self._words
        words[1] = self._sequence + 1
        words[3] = step
        words[4] = since
        words[5] = model
        words[6] = request
        words[7] = self.completed
        words[8] = self.failed
        words[9] = self.busy
        self._sequence += 2
        words[1] = self._sequence


def read_stats(mapping: Mapping, tries: int = 1000) -> Stats:
    """A consistent copy. After ``tries`` (a writer stopped in mid-write) the last copy is good enough."""
    words = mapping.buffer(_STATS, _STATS_WORDS * _WORD).cast("Q")
    for _ in range(tries):
        before = words[1]
        stats = Stats(*words[2:])
        if before % 2 == 0 and words[1] == before:
            break
    return stats
