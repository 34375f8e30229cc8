"""The control segment: layout, mailboxes and the stats page. All numbers little-endian.

========== ===== ==========================================================================
offset     bytes content
========== ===== ==========================================================================
0          64    header: magic ``NPODCTRL``, layout version u32, slots u32, slot bytes u32
64         8     requests taken so far by the worker (u64)
128        8     replies taken so far by the client (u64)
192        8     1 while the worker sleeps until a request rings (u64)
256        8     1 while the client sleeps until a reply rings (u64)
4096       64    request doorbell (``sem_t``)
4160       64    reply doorbell (``sem_t``)
8192       4096  stats page, written by the worker alone
12288      n     request slots, then reply slots
========== ===== ==========================================================================

A slot holds a sequence number (u64, the first message is 1), a length (u32), a flag (u32) and a message. The writer
fills in the message, its length and flag, then the sequence number, and rings if the reader sleeps. Flag 1: the
message was too long for a slot and lies in the sender's arena; the slot holds (frame id, offset, length), each u64.
Flag 2: the message is one of `wire.repeated`, as u64 words.

Whatever the other process may read at any moment is written as one aligned u64, through a memoryview of format
``Q``: `struct` clears its target and writes byte by byte, so a reader could see a number that never was.
"""

import platform
import struct
import threading
import time
from typing import Any, NamedTuple, Optional, Tuple, Type

from neuropod_worker.shm import native
from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.wire.codec import ProtocolViolation
from neuropod_worker.wire.repeated import REPEATED_INFER, REPEATED_RESULT, Repeated

LAYOUT_VERSION = 1
SLOTS = 64
SLOT_SIZE = 1024

_MAGIC = b"NPODCTRL"
_HEADER = struct.Struct("<8sIII")
_ELSEWHERE = struct.Struct("<QQQ")
_SLOT_HEAD = 16  # bytes before a slot's message
_WORD = 8
_WORDS_PER_SLOT = SLOT_SIZE // _WORD
IN_SLOT, IN_ARENA, REPEATED = 0, 1, 2

_REQUESTS_TAKEN, _REPLIES_TAKEN = 64, 128
_WORKER_ASLEEP, _CLIENT_ASLEEP = 192, 256
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


# Whether what one processor stores in some order, another one loads in that order. Where it may not, nobody looks at
# a slot before its ring, whose system call or locked instruction keeps the order.
ORDERED_STORES = platform.machine() in ("x86_64", "AMD64")

_clock = time.monotonic


class Mailbox:
    """One direction: a ring of slots with one writer and one reader, each in its own process.

    Each side makes its own object and calls only its own half. Calls of one half are not thread-safe, but for
    ``wake``. `NativeMailbox` is the same with native code where a repeated call passes. ``polled`` says that the
    reader looks at the slots by itself and is rung only while it sleeps; both sides must agree on it.
    """

    def __init__(
        self, mapping: Mapping, slots_at: int, taken_at: int, asleep_at: int, repeated: Repeated, polled: bool
    ) -> None:
        self._words = mapping.buffer(slots_at, SLOTS * SLOT_SIZE).cast("Q")
        self._bytes = mapping.buffer(slots_at, SLOTS * SLOT_SIZE)
        self._taken_word = mapping.buffer(taken_at, _WORD).cast("Q")
        self._asleep = mapping.buffer(asleep_at, _WORD).cast("Q")
        self._pack_into, self._unpack_from, self.revive = repeated.pack_into, repeated.unpack_from, repeated.revive
        self._repeated_word = repeated.size | REPEATED << 32
        self._fence = threading.Lock()
        self.polled = polled
        self.written = 0
        self._known_taken = 0
        self._next = 1  # the number of the next message to take

    # ---- the writer's half

    @property
    def full(self) -> bool:
        if self.written - self._known_taken < SLOTS:
            return False
        taken = self._taken_word[0]
        if not 0 <= self.written - taken <= SLOTS:
            raise ProtocolViolation("the reader says it took {} messages of {}".format(taken, self.written))
        self._known_taken = taken
        return self.written - self._known_taken == SLOTS

    @property
    def untaken(self) -> int:
        """How many messages the reader has not taken, as it says."""
        taken: int = self._taken_word[0]
        return self.written - taken

    def put(self, message: bytes, flag: int = IN_SLOT) -> None:
        """Write a message of at most INLINE_LIMIT bytes into the next slot."""
        self._check_room()
        slot = self.written % SLOTS
        start = slot * SLOT_SIZE + _SLOT_HEAD
        self._bytes[start : start + len(message)] = message
        self._words[slot * _WORDS_PER_SLOT + 1] = len(message) | flag << 32
        self.written += 1
        self._words[slot * _WORDS_PER_SLOT] = self.written

    def put_elsewhere(self, place: Elsewhere) -> None:
        self.put(_ELSEWHERE.pack(*place), IN_ARENA)

    def send_repeated(self, bell: Any, *words: int) -> None:
        """Write the words of this mailbox's repeated message into the next slot. Ring unless the reader is awake."""
        if self.written - self._known_taken >= SLOTS:
            self._check_room()
        slot = self.written % SLOTS
        self._pack_into(self._bytes, slot * SLOT_SIZE + _SLOT_HEAD, *words)
        at = slot * _WORDS_PER_SLOT
        self._words[at + 1] = self._repeated_word
        self.written = number = self.written + 1
        self._words[at] = number
        self.wake(bell)

    def exchange(
        self, arrays: Any, layout: native.Layout, bell: Any, replies: "Mailbox", seconds: float, *words: int
    ) -> Optional[int]:
        """Place arrays and send an Infer with ``words``; look for its reply in ``replies`` as `poll` does.

        Gives the frame of the outputs, whose reply the caller takes, if it is a repeated Result that releases the
        frame of the inputs; 0 if there is no such reply yet. None if the arrays do not fit: then nothing is sent.
        """
        if not native.place(arrays, layout):
            return None
        self.send_repeated(bell, *words)
        answer = replies.repeated() if replies.polled and replies.poll(seconds) else None
        if answer is None or answer[:4] != words[:4] or answer[4] != words[5]:
            return 0
        return answer[5]

    def _check_room(self) -> None:
        if self.full:
            raise ProtocolViolation("the peer has not taken the last {} messages".format(SLOTS))

    def wake(self, bell: Any) -> None:
        """Ring for what was put, unless the reader is awake. From any thread."""
        if self.polled:
            # The processor must not look whether the reader sleeps before others can see the message: a lock's
            # instructions are what Python has of a fence. `fall_asleep` is the other half.
            with self._fence:
                pass
            if not self._asleep[0]:
                return
            self._asleep[0] = 0  # one ring is enough
        bell.ring()

    # ---- the reader's half

    @property
    def arrived(self) -> bool:
        """Whether ``take`` has something to say."""
        return self._words[self._next_at] == self._next

    def poll(self, seconds: float) -> bool:
        """Look for so long, once at least, whether a message has arrived; True as soon as one has. Keeps the GIL."""
        words, at, number = self._words, self._next_at, self._next
        until = _clock() + seconds
        while words[at] != number:
            if _clock() >= until:
                return False
        return True

    def fall_asleep(self) -> bool:
        """Ask to be rung. True if the reader may sleep now, False if a message has come meanwhile."""
        self._asleep[0] = 1
        with self._fence:  # nor may it look for a message before others can see that it wants to sleep
            pass
        return not self.arrived

    def wake_up(self) -> None:
        self._asleep[0] = 0

    def take(self) -> Any:
        """The next message, or None: the bytes of one in a slot, `Elsewhere`, or a revived repeated message.

        All of it is copied before anything is looked at. Raises ProtocolViolation.
        """
        at = self._next_at
        sequence = self._words[at]
        if sequence != self._next:
            if sequence > self._next or sequence < self._next - SLOTS:
                raise ProtocolViolation("slot {} has number {}".format(self._next, sequence))
            return None
        words = self.repeated()
        if words is not None:
            self.taken()
            return self.revive(words)
        word = self._words[at + 1]
        start = at * _WORD + _SLOT_HEAD
        length, flag = word & 0xFFFFFFFF, word >> 32
        if length > INLINE_LIMIT or flag not in (IN_SLOT, IN_ARENA):
            raise ProtocolViolation("slot {} has length {} and flag {}".format(sequence, length, flag))
        data = self._bytes[start : start + length].tobytes()
        self.taken()
        if flag == IN_SLOT:
            return data
        if length != _ELSEWHERE.size:
            raise ProtocolViolation("slot {} refers to the arena with {} bytes".format(sequence, length))
        return Elsewhere(*_ELSEWHERE.unpack(data))

    def repeated(self) -> Optional[Tuple[int, ...]]:
        """A copy of the words of the next message, which is not taken yet; None if none has arrived or it is no
        repeated one."""
        at = self._next_at
        if self._words[at] != self._next or self._words[at + 1] != self._repeated_word:
            return None
        return self._unpack_from(self._bytes, at * _WORD + _SLOT_HEAD)

    def taken(self) -> None:
        """The writer may have the next message's slot back."""
        self._taken_word[0] = number = self._next
        self._next = number + 1

    @property
    def _next_at(self) -> int:
        """Where the next message will lie, in words."""
        return (self._next - 1) % SLOTS * _WORDS_PER_SLOT


MAILBOX: Type[Mailbox] = Mailbox
if native.library is not None:

    class NativeMailbox(native.library.Ring, Mailbox):  # type: ignore[misc]
        """Reads and writes repeated messages in native code."""

        def __init__(
            self, mapping: Mapping, slots_at: int, taken_at: int, asleep_at: int, repeated: Repeated, polled: bool
        ) -> None:
            Mailbox.__init__(self, mapping, slots_at, taken_at, asleep_at, repeated, polled)
            at = [mapping.address + offset for offset in (slots_at, taken_at, asleep_at)]
            native.library.Ring.__init__(
                self, *at, SLOTS, _WORDS_PER_SLOT, self._repeated_word, len(repeated.fields), polled
            )

    MAILBOX = NativeMailbox


def request_mailbox(mapping: Mapping, polled: bool) -> Mailbox:
    return MAILBOX(mapping, _REQUEST_SLOTS, _REQUESTS_TAKEN, _WORKER_ASLEEP, REPEATED_INFER, polled)


def reply_mailbox(mapping: Mapping, polled: bool) -> Mailbox:
    return MAILBOX(mapping, _REPLY_SLOTS, _REPLIES_TAKEN, _CLIENT_ASLEEP, REPEATED_RESULT, polled)


assert CONTROL_SIZE % _WORD == 0
assert SLOT_SIZE % _WORD == 0
assert _HEADER.size <= _REQUESTS_TAKEN
assert _ELSEWHERE.size <= INLINE_LIMIT
assert max(REPEATED_INFER.size, REPEATED_RESULT.size) <= INLINE_LIMIT
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
_STATS_SHOWN = struct.Struct("=7Q")  # from the step on
assert _STATS + _STATS_WORDS * _WORD <= _REQUEST_SLOTS


class StatsWriter:
    """The worker's half of the stats page."""

    def __init__(self, mapping: Mapping, pid: int) -> None:
        self._words = mapping.buffer(_STATS, _STATS_WORDS * _WORD).cast("Q")
        self._shown = mapping.buffer(_STATS + 3 * _WORD, _STATS_SHOWN.size)
        self._words[0] = LAYOUT_VERSION
        self._words[2] = pid
        self._sequence = 0
        self.completed = 0
        self.failed = 0
        self.busy = 0

    def show(self, step: int, since: int, model: int = 0, request: int = 0) -> None:
        self._words[1] = self._sequence + 1
        _STATS_SHOWN.pack_into(self._shown, 0, step, since, model, request, self.completed, self.failed, self.busy)
        self._sequence += 2
        self._words[1] = self._sequence


def read_stats(mapping: Mapping, tries: int = 1000) -> Stats:
    """A consistent copy. After ``tries`` (a writer stopped in mid-write) the last copy is good enough."""
    words = mapping.buffer(_STATS, _STATS_WORDS * _WORD).cast("Q")
    for _ in range(tries):
        before = words[1]
        stats = Stats(*words[2:])
        if before % 2 == 0 and words[1] == before:
            break
    return stats
