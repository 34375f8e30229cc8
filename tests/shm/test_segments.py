import gc
import os

import numpy as np
import pytest
from peers import SEGMENT_KINDS, Peer

from neuropod_worker.shm.arena import reserve_pages
from neuropod_worker.shm.frames import view_memory
from neuropod_worker.shm.mapping import Mapping

SIZE = 2**36


def mapped(address):
    with open("/proc/self/maps") as maps:
        return any(line.startswith(f"{address:x}-") for line in maps)


def test_a_segment_is_large_and_empty_and_has_no_name(make_segment):
    names = os.listdir("/dev/shm")
    fd = make_segment(SIZE)
    assert os.fstat(fd).st_size == SIZE
    assert os.fstat(fd).st_blocks == 0
    assert os.listdir("/dev/shm") == names
    assert not os.get_inheritable(fd)


def test_both_sides_see_the_same_bytes(make_segment):
    fd = make_segment(SIZE)
    reserve_pages(fd, 0, 4096)
    ours = Mapping(fd, SIZE)

    def work():
        theirs = Mapping(fd, SIZE)
        theirs.buffer(100, 5)[:] = b"hello"

    Peer(work).finish()
    assert bytes(ours.buffer(100, 5)) == b"hello"


def test_memory_is_taken_when_it_is_reserved(make_segment):
    fd = make_segment(SIZE)
    reserve_pages(fd, 0, 2**20)
    assert os.fstat(fd).st_blocks * 512 == 2**20


def test_a_mapping_outlives_its_descriptor_and_goes_with_its_last_view():
    fd = SEGMENT_KINDS["posix"](SIZE)
    reserve_pages(fd, 0, 4096)
    mapping = Mapping(fd, SIZE)
    os.close(fd)
    address = mapping.address
    view = view_memory(mapping, 0, np.dtype(np.float32), (4, 4))[1:, ::2].T
    del mapping
    gc.collect()
    view[...] = 5
    assert mapped(address)
    assert view.sum() == 30
    del view
    gc.collect()
    assert not mapped(address)


def test_nobody_can_truncate_a_memfd():
    fd = SEGMENT_KINDS["memfd"](SIZE)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


def test_a_mapping_of_a_bad_descriptor_is_an_error():
    with pytest.raises(OSError, match="cannot map"):
        Mapping(-1, 4096)
