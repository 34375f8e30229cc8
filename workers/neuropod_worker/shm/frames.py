"""Frames: sets of tensors in an arena, defined once, then named by id. Both sides use both halves.

The sending half lays a frame out, fills it in and reuses it once the receiver has released it. The receiving
half checks a definition against the bounds of the sender's segment and keeps the views.
"""

from collections import deque
from typing import Any, Deque, Dict, Iterable, List, Optional, Tuple

import numpy as np

from neuropod_worker.errors import SpecError
from neuropod_worker.problem.dtypes import DTYPES, numpy_dtype
from neuropod_worker.shm.arena import ALIGNMENT, Arena, SharedMemoryExhausted
from neuropod_worker.shm.control import Elsewhere
from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.shm.strings import decode_strings, element_count, encode_strings
from neuropod_worker.wire.codec import ProtocolViolation
from neuropod_worker.wire.messages import IN_ARENA, Tensor

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
            "data": (mapping.address + offset, False),
            "shape": shape,
            "typestr": dtype.str,
            "version": 3,
        }


_BYTE = np.dtype(np.uint8)


def view_memory(mapping: Mapping, offset: int, dtype: np.dtype, shape: Tuple[int, ...]) -> np.ndarray:
    """A writable array over a range of a mapping; it keeps the mapping alive."""
    return np.asarray(_Memory(mapping, offset, dtype, shape))


class SentFrame:
    """A frame of this side's arena. ``tensors`` is its definition until the first message has carried it."""

    __slots__ = ("block", "id", "key", "nbytes", "released", "tensors", "views")

    def __init__(self, id: int, key: Any, block: int, nbytes: int) -> None:
        self.id = id
        self.key = key
        self.block = block
        self.nbytes = nbytes
        self.released = 0  # when, counted in releases
        self.tensors: Optional[Tuple[Tensor, ...]] = ()
        self.views: Tuple[np.ndarray, ...] = ()


class SendingFrames:
    """The frames of one arena, towards one receiver. Not thread-safe.

    ``acquire`` gives a frame whose views can be written; it belongs to the receiver until ``release``.
    """

    def __init__(self, arena: Arena, mapping: Mapping) -> None:
        self._arena = arena
        self._mapping = mapping
        self._next_id = 1
        self._lent: Dict[int, SentFrame] = {}
        self._idle: Dict[Any, List[SentFrame]] = {}
        self._idle_frames = 0
        self._idle_bytes = 0
        self._releases = 0
        self.retired: Deque[int] = deque()  # frames that the receiver should forget; rides on the next message

    def acquire(self, key: Tuple[Any, ...], arrays: Dict[str, np.ndarray]) -> SentFrame:
        """A frame with the arrays' contents. ``key`` must stand for their names, dtypes and shapes.

        Raises SharedMemoryExhausted.
        """
        idle = self._idle.get(key)
        if idle:
            frame = idle.pop()
            self._idle_frames -= 1
            self._idle_bytes -= frame.nbytes
            self._lent[frame.id] = frame
            for view, array in zip(frame.views, arrays.values()):
                view[...] = array
            return frame
        return self._lay_out(key, arrays)

    def _lay_out(self, key: Tuple[Any, ...], arrays: Dict[str, np.ndarray]) -> SentFrame:
        contents = [
            (name, array, encode_strings(array) if array.dtype.kind == "U" else array)
            for name, array in arrays.items()
        ]
        for name, array, content in contents:
            if not isinstance(name, str):
                raise SpecError("tensors must be named by text, not {!r}".format(name))
            if content.dtype.newbyteorder("=") not in _NAME_OF:
                raise SpecError("tensor {!r} has dtype {}, which cannot cross".format(name, array.dtype), name)
        offsets, total = [], 0
        for _, _, content in contents:
            offsets.append(total)
            total += -(-content.nbytes // ALIGNMENT) * ALIGNMENT
        frame = self._new_frame(key, total)
        tensors, views = [], []
        for offset, (name, array, content) in zip(offsets, contents):
            start = frame.block + offset
            view = view_memory(self._mapping, start, content.dtype.newbyteorder("="), content.shape)
            view[...] = content
            dtype = "string" if content is not array else _NAME_OF[view.dtype]
            tensors.append(Tensor(name, dtype, array.shape, (IN_ARENA, start, content.nbytes)))
            views.append(view)
        frame.tensors = tuple(tensors)
        frame.views = tuple(views)
        if any(array.dtype.kind == "U" for array in arrays.values()):
            frame.key = None  # the bytes depend on the texts, so there is nothing to reuse
        return frame

    def put_bytes(self, message: bytes) -> Elsewhere:
        """A frame for a message that does not fit into its slot."""
        frame = self._new_frame(None, len(message))
        self._mapping.buffer(frame.block, len(message))[:] = message
        return Elsewhere(frame.id, frame.block, len(message))

    def _new_frame(self, key: Any, nbytes: int) -> SentFrame:
        try:
            block = self._arena.allocate(nbytes)
        except SharedMemoryExhausted:
            if not self._idle_frames:
                raise
            while self._idle_frames:
                self._evict()
            block = self._arena.allocate(nbytes)
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
            if frame.key is None or frame.tensors is not None:
                self._drop(frame)
            else:
                self._idle.setdefault(frame.key, []).append(frame)
                self._idle_frames += 1
                self._idle_bytes += frame.nbytes
                self._releases += 1
                frame.released = self._releases
        while self._idle_frames > _IDLE_FRAMES or self._idle_bytes > _IDLE_BYTES:
            self._evict()

    def _evict(self) -> None:
        """Drop the frame that has been idle for the longest time: the first one of some signature."""
        oldest = min([frames[0] for frames in self._idle.values() if frames], key=lambda frame: frame.released)
        del self._idle[oldest.key][0]
        self._idle = {key: frames for key, frames in self._idle.items() if frames}
        self._idle_frames -= 1
        self._idle_bytes -= oldest.nbytes
        self._drop(oldest)

    def _drop(self, frame: SentFrame) -> None:
        self._arena.free(frame.block)
        if frame.tensors is None:
            self.retired.append(frame.id)


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
        if self._numeric is not None:
            return {name: view.copy() for name, view in self._numeric.items()}
        return {name: array.copy() for name, array in self.arrays().items()}


class ReceivingFrames:
    """The peer's frames. Every place is checked against the peer's segment before it is viewed."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._frames: Dict[int, ReceivedFrame] = {}

    def frame(self, id: int, tensors: Optional[Tuple[Tensor, ...]]) -> ReceivedFrame:
        """The frame ``id``, defined now if ``tensors`` is given. Raises ProtocolViolation."""
        if tensors is None:
            try:
                return self._frames[id]
            except KeyError:
                raise ProtocolViolation("frame {} was never defined".format(id)) from None
        if id in self._frames:
            raise ProtocolViolation("frame {} is defined twice".format(id))
        frame = ReceivedFrame(id, tensors, tuple([self._view(tensor) for tensor in tensors]))
        self._frames[id] = frame
        return frame

    def _view(self, tensor: Tensor) -> np.ndarray:
        self._check(tensor.offset, tensor.nbytes)
        if tensor.dtype == "string":
            return view_memory(self._mapping, tensor.offset, _BYTE, (tensor.nbytes,))
        dtype = NUMERIC.get(tensor.dtype)
        if dtype is None or element_count(tensor.shape) * dtype.itemsize != tensor.nbytes:
            raise ProtocolViolation(
                "tensor {!r} of dtype {} and shape {} cannot have {} bytes".format(
                    tensor.name, tensor.dtype, tensor.shape, tensor.nbytes
                )
            )
        try:
            return view_memory(self._mapping, tensor.offset, dtype, tensor.shape)
        except (ValueError, OverflowError) as error:  # a shape beyond what numpy can count, or too many dimensions
            raise ProtocolViolation("tensor {!r}: {}".format(tensor.name, error)) from None

    def _check(self, offset: int, nbytes: int) -> None:
        if offset % ALIGNMENT or offset + nbytes > self._mapping.size:
            raise ProtocolViolation(
                "bytes {} to {} do not lie in a segment of {} bytes".format(
                    offset, offset + nbytes, self._mapping.size
                )
            )

    def take_bytes(self, place: Elsewhere) -> bytes:
        """A copy of a message that did not fit into its slot."""
        self._check(place.offset, place.length)
        return bytes(self._mapping.buffer(place.offset, place.length))

    def retire(self, ids: Iterable[int]) -> None:
        for id in ids:
            if self._frames.pop(id, None) is None:
                raise ProtocolViolation("frame {} was retired, but it was never defined".format(id))
