"""Frames: sets of tensors in an arena, defined once, then named by id. Both sides use both halves.

The sending half lays a frame out, fills it in and reuses it once the receiver has released it; tensors that lie in
shared memory already stay where they are. The receiving half checks a definition against the bounds of the memory
that it refers to and keeps the views.
"""

from collections import OrderedDict, deque
from typing import Any, Callable, Deque, Dict, FrozenSet, Iterable, List, Optional, Tuple

import numpy as np

from neuropod_worker.errors import SpecError
from neuropod_worker.problem.dtypes import DTYPES, numpy_dtype
from neuropod_worker.shm import native
from neuropod_worker.shm.arena import ALIGNMENT, Arena, SharedMemoryExhausted
from neuropod_worker.shm.control import Elsewhere
from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.shm.placed import COPIED_BYTES, Owner, Placed, SharedFile, lend, owned_bytes, placed, take_back
from neuropod_worker.shm.strings import decode_strings, element_count, encode_strings
from neuropod_worker.wire.codec import ProtocolViolation
from neuropod_worker.wire.messages import IN_ARENA, IN_FILE, Tensor

_IDLE_FRAMES = 64  # how many unused frames are kept, per side
_IDLE_BYTES = 256 * 2**20  # and how many bytes in them

# The dtypes that cross as their own bytes; strings cross as in `shm.strings`.
NUMERIC = {name: numpy_dtype(name) for name in DTYPES if name != "string"}
_NAME_OF = {dtype: name for name, dtype in NUMERIC.items()}


def drain(ids: Deque[int]) -> Tuple[int, ...]:
    """Take all that is in ``ids`` now; other threads may append meanwhile."""
    return tuple([ids.popleft() for _ in range(len(ids))]) if ids else ()


class _Memory:
    """What a view of a frame is based on. Neither an ndarray nor a memoryview, so that numpy never looks through
    the view: whatever is derived from it refers to it, keeps the mapping alive, and is seen by counting its
    references."""

    def __init__(self, mapping: Mapping, offset: int, dtype: np.dtype, shape: Tuple[int, ...]) -> None:
        self._mapping = mapping
        self.__array_interface__ = {
            "data": (mapping.address + offset, not mapping.writable),
            "shape": shape,
            "typestr": dtype.str,
            "version": 3,
        }


_BYTE = np.dtype(np.uint8)


def view_memory(mapping: Mapping, offset: int, dtype: np.dtype, shape: Tuple[int, ...]) -> np.ndarray:
    """An array over a range of a mapping, writable if that is; it keeps the mapping alive."""
    return np.asarray(_Memory(mapping, offset, dtype, shape))


class SentFrame:
    """A frame of this side's arena. ``tensors`` is its definition until the first message has carried it."""

    __slots__ = ("block", "file_ids", "id", "key", "layout", "lent", "nbytes", "tensors", "views")

    def __init__(self, id: int, key: Any, block: Optional[int], nbytes: int) -> None:
        self.id = id
        self.key = key
        self.block = block
        self.nbytes = nbytes
        self.tensors: Optional[Tuple[Tensor, ...]] = ()
        self.views: Tuple[Optional[np.ndarray], ...] = ()  # to copy to; None where nothing is copied
        self.layout: native.Layout = ()  # the same for `native.place`, if that can be used
        self.file_ids: FrozenSet[int] = frozenset()  # other files that its tensors lie in
        self.lent: Tuple[Tuple[Placed, np.ndarray], ...] = ()  # arrays that the receiver reads in place


class SendingFrames:
    """The frames of one arena, towards one receiver. Not thread-safe. With ``own_file``, the arena's, arrays can be
    placed in it.

    ``acquire`` gives a frame whose views can be written; it belongs to the receiver until ``release``.
    """

    def __init__(self, arena: Arena, mapping: Mapping, own_file: Optional[SharedFile] = None) -> None:
        self._arena = arena
        self._mapping = mapping
        self._own_file = own_file
        self._next_id = 1
        self._lent: Dict[int, SentFrame] = {}
        self._idle: Dict[Any, List[SentFrame]] = {}
        self._by_age: "OrderedDict[int, SentFrame]" = OrderedDict()  # the unused ones, as they were released
        self._idle_bytes = 0
        self._freed: Deque[int] = (
            deque()
        )  # blocks of `place` whose arrays are gone; finalizers append, from any thread
        self.retired: Deque[int] = deque()  # frames that the receiver should forget; rides on the next message

    def acquire(self, key: Any, arrays: Dict[str, np.ndarray]) -> SentFrame:
        """A frame with the arrays' contents. ``key`` must stand for their names, dtypes and shapes: a `Signature`.

        Raises SharedMemoryExhausted.
        """
        places: Optional[List[Optional[Placed]]] = None
        for array in arrays.values():
            if array.base is not None:
                places = [placed(array) for array in arrays.values()]
                if any(places):
                    key = (key, tuple([place and (place.owner.file.id, place.offset) for place in places]))
                else:
                    places = None
                break
        idle = self._idle.get(key)
        if idle:
            frame = idle[-1]
            self.lend(frame)
            for view, array in zip(frame.views, arrays.values()):
                if view is not None:
                    view[...] = array
        else:
            frame = self._lay_out(key, arrays, places or [None] * len(arrays))
        if places is not None:
            frame.lent = tuple([(place, array) for place, array in zip(places, arrays.values()) if place])
            lend(frame.lent)
        return frame

    def reusable(self, key: Any) -> Optional[SentFrame]:
        """The unused frame that the next `acquire` with ``key`` takes, if `native.place` can fill it."""
        idle = self._idle.get(key)
        return idle[-1] if idle and idle[-1].layout else None

    def fill(self, key: Any, arrays: Any) -> Optional[SentFrame]:
        """Like `acquire`; None for the first frame with ``key``, and for arrays that are large or not like those."""
        frame = self.reusable(key)
        if frame is None or not native.place(arrays, frame.layout):
            return None
        self.lend(frame)
        return frame

    def lend(self, frame: SentFrame) -> None:
        """The receiver has the frame that `reusable` gave."""
        self._idle[frame.key].pop()
        del self._by_age[frame.id]
        self._idle_bytes -= frame.nbytes
        self._lent[frame.id] = frame

    def _lay_out(self, key: Any, arrays: Dict[str, np.ndarray], places: "List[Optional[Placed]]") -> SentFrame:
        contents = [
            (name, array, encode_strings(array) if array.dtype.kind == "U" else array, place)
            for (name, array), place in zip(arrays.items(), places)
        ]
        for name, array, content, _ in contents:
            if not isinstance(name, str):
                raise SpecError("tensors must be named by text, not {!r}".format(name))
            if content.dtype.newbyteorder("=") not in _NAME_OF:
                raise SpecError("tensor {!r} has dtype {}, which cannot cross".format(name, array.dtype), name)
        offsets, total = [], 0
        for _, _, content, place in contents:
            offsets.append(total)
            total += -(-content.nbytes // ALIGNMENT) * ALIGNMENT if place is None else 0
        frame = self._new_frame(key, total, needs_block=None in places or not places)
        tensors: List[Tensor] = []
        views: List[Optional[np.ndarray]] = []
        for offset, (name, array, content, place) in zip(offsets, contents):
            dtype = content.dtype.newbyteorder("=")
            if place is None:
                start = (frame.block or 0) + offset
                view = view_memory(self._mapping, start, dtype, content.shape)
                view[...] = content
                views.append(view)
                where: Tuple[int, ...] = (IN_ARENA, start, content.nbytes)
            else:
                views.append(None)
                file = place.owner.file
                where = (IN_FILE, place.offset, content.nbytes, file.id)
                if file is self._own_file:
                    where = (IN_ARENA, place.offset, content.nbytes)
            type_name = "string" if content is not array else _NAME_OF[dtype]
            tensors.append(Tensor(name, type_name, array.shape, where))
        frame.tensors = tuple(tensors)
        frame.views = tuple(views)
        frame.file_ids = frozenset([tensor.place[3] for tensor in tensors if tensor.place[0] == IN_FILE])
        if any(array.dtype.kind == "U" for array in arrays.values()):
            frame.key = None  # the bytes depend on the texts, so there is nothing to reuse
        elif total <= COPIED_BYTES and not any(places):
            frame.layout = tuple([(name, view, view.nbytes) for name, view in zip(arrays, views) if view is not None])
        return frame

    def put_bytes(self, message: bytes) -> Elsewhere:
        """A frame for a message that does not fit into its slot."""
        frame = self._new_frame(None, len(message), needs_block=True)
        block = frame.block or 0
        self._mapping.buffer(block, len(message))[:] = message
        return Elsewhere(frame.id, block, len(message))

    def allocate(self, nbytes: int) -> int:
        """A block of the arena; unused frames make room for it. Raises SharedMemoryExhausted."""
        while self._freed:
            self._arena.free(self._freed.popleft())
        try:
            return self._arena.allocate(nbytes)
        except SharedMemoryExhausted:
            if not self._by_age:
                raise
            self._evict_all()
            return self._arena.allocate(nbytes)

    def place(self, nbytes: int) -> np.ndarray:
        """So many bytes of the arena as an array: what is made of it and then sent is not copied."""
        block, freed = self.allocate(nbytes), self._freed
        return owned_bytes(self._mapping, Owner(self._own_file, block, nbytes, lambda: freed.append(block)))

    def _new_frame(self, key: Any, nbytes: int, needs_block: bool) -> SentFrame:
        block = self.allocate(nbytes) if needs_block else None
        frame = SentFrame(self._next_id, key, block, nbytes)
        self._next_id += 1
        self._lent[frame.id] = frame
        return frame

    def release(self, ids: Iterable[int]) -> None:
        """The receiver will not read these frames again. Raises ProtocolViolation for one that it does not have."""
        for id in ids:
            frame = self._lent.pop(id, None)
            if frame is None:
                raise ProtocolViolation("frame {} was released, but it was not lent".format(id))
            if frame.lent:
                _take_back(frame)
            if frame.key is None or frame.tensors is not None:
                self._drop(frame)
            else:
                self._idle.setdefault(frame.key, []).append(frame)
                self._by_age[id] = frame
                self._idle_bytes += frame.nbytes
        while len(self._by_age) > _IDLE_FRAMES or self._idle_bytes > _IDLE_BYTES:
            self._evict(next(iter(self._by_age.values())))

    def _evict(self, frame: SentFrame) -> None:
        """Drop an unused frame."""
        frames = self._idle[frame.key]
        frames.remove(frame)
        if not frames:
            del self._idle[frame.key]
        del self._by_age[frame.id]
        self._idle_bytes -= frame.nbytes
        self._drop(frame)

    def _evict_all(self) -> None:
        for frame in list(self._by_age.values()):
            self._evict(frame)

    def trim(self) -> None:
        """Drop all unused frames and give their memory back to the system."""
        self._evict_all()
        self._arena.trim()

    def forget_file(self, file: int) -> None:
        """Retire the unused frames with tensors in a file."""
        for frame in [frame for frame in self._by_age.values() if file in frame.file_ids]:
            self._evict(frame)

    def end(self) -> None:
        """The receiver is gone: what was lent to it is free."""
        for frame in self._lent.values():
            _take_back(frame)

    def _drop(self, frame: SentFrame) -> None:
        if frame.block is not None:
            self._arena.free(frame.block)
        if frame.tensors is None:
            self.retired.append(frame.id)


def _take_back(frame: SentFrame) -> None:
    lent, frame.lent = frame.lent, ()
    take_back(lent)


class ReceivedFrame:
    """A frame of the peer: where it lies, and its tensors as views (strings as the bytes of `shm.strings`)."""

    __slots__ = ("_numeric", "id", "nbytes", "tensors", "views")

    def __init__(self, id: int, tensors: Tuple[Tensor, ...], views: Tuple[np.ndarray, ...]) -> None:
        self.id = id
        self.tensors = tensors
        self.views = views
        self.nbytes = sum([view.nbytes for view in views])
        has_strings = any(tensor.dtype == "string" for tensor in tensors)
        self._numeric = None if has_strings else {tensor.name: view for tensor, view in zip(tensors, views)}

    def arrays(self) -> Dict[str, np.ndarray]:
        """The tensors by name: views of the frame, but private copies of strings."""
        if self._numeric is not None:
            return self._numeric.copy()
        return {
            tensor.name: decode_strings(view.tobytes(), tensor.shape) if tensor.dtype == "string" else view
            for tensor, view in zip(self.tensors, self.views)
        }

    def copies(self) -> Dict[str, np.ndarray]:
        """The tensors by name, all of them private."""
        return native.copies(self.arrays() if self._numeric is None else self._numeric)


class ReceivingFrames:
    """The peer's frames. Every place is checked against the memory that it refers to before it is viewed.

    ``find_file`` gives the mapping of a file, or raises ProtocolViolation.
    """

    def __init__(self, mapping: Mapping, find_file: "Optional[Callable[[int], Mapping]]" = None) -> None:
        self._mapping = mapping
        self._find_file = find_file
        self._frames: Dict[int, ReceivedFrame] = {}

    def find(self, id: int) -> Optional[ReceivedFrame]:
        """The frame ``id``, if it was defined."""
        return self._frames.get(id)

    def frame(self, id: int, tensors: Optional[Tuple[Tensor, ...]]) -> ReceivedFrame:
        """The frame ``id``, defined now if ``tensors`` is given. Raises ProtocolViolation."""
        if tensors is None:
            try:
                return self._frames[id]
            except KeyError:
                raise ProtocolViolation("frame {} was never defined".format(id)) from None
        if id in self._frames:
            raise ProtocolViolation("frame {} is defined twice".format(id))
        frame = ReceivedFrame(id, tensors, tuple([self.view(tensor) for tensor in tensors]))
        self._frames[id] = frame
        return frame

    def view(self, tensor: Tensor) -> np.ndarray:
        """A tensor in place (strings as bytes). Raises ProtocolViolation."""
        mapping = self._mapping
        if tensor.place[0] == IN_FILE:
            if self._find_file is None:
                raise ProtocolViolation("tensor {!r} lies in a file of the worker's".format(tensor.name))
            mapping = self._find_file(tensor.place[3])
        if tensor.dtype == "string":
            _check(mapping, tensor.offset, tensor.nbytes, ALIGNMENT)
            return view_memory(mapping, tensor.offset, _BYTE, (tensor.nbytes,))
        dtype = NUMERIC.get(tensor.dtype)
        if dtype is None or element_count(tensor.shape) * dtype.itemsize != tensor.nbytes:
            raise ProtocolViolation(
                "tensor {!r} of dtype {} and shape {} cannot have {} bytes".format(
                    tensor.name, tensor.dtype, tensor.shape, tensor.nbytes
                )
            )
        _check(mapping, tensor.offset, tensor.nbytes, dtype.itemsize)
        try:
            return view_memory(mapping, tensor.offset, dtype, tensor.shape)
        except (ValueError, OverflowError) as error:  # a shape beyond what numpy can count, or too many dimensions
            raise ProtocolViolation("tensor {!r}: {}".format(tensor.name, error)) from None

    def take_bytes(self, place: Elsewhere) -> bytes:
        """A copy of a message that did not fit into its slot."""
        _check(self._mapping, place.offset, place.length, ALIGNMENT)
        return bytes(self._mapping.buffer(place.offset, place.length))

    def retire(self, ids: Iterable[int]) -> None:
        for id in ids:
            if self._frames.pop(id, None) is None:
                raise ProtocolViolation("frame {} was retired, but it was never defined".format(id))


def _check(mapping: Mapping, offset: int, nbytes: int, alignment: int) -> None:
    if offset % alignment or offset + nbytes > mapping.size:
        raise ProtocolViolation(
            "bytes {} to {} do not lie in a segment of {} bytes, or not at a multiple of {}".format(
                offset, offset + nbytes, mapping.size, alignment
            )
        )
