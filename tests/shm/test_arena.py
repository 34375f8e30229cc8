import errno
import os
import pickle
import random

import pytest

from neuropod_worker.shm.arena import ALIGNMENT, PAGE, Arena, SharedMemoryExhausted, arena_over
from neuropod_worker.shm.mapping import Mapping, huge_pages_offered

SIZE = 2**30


def arena(size=SIZE, reserve=lambda fd, offset, size: None):
    return Arena(-1, size, reserve)


def test_blocks_are_aligned_and_never_overlap():
    arena_, random_ = arena(), random.Random(1)
    blocks = {}
    for _ in range(3000):
        if blocks and random_.random() < 0.5:
            start = random_.choice(list(blocks))
            arena_.free(start)
            del blocks[start]
        else:
            size = random_.choice([0, 1, 63, 64, 65, 5000, 100_000])
            blocks[arena_.allocate(size)] = size
        ordered = sorted(blocks.items())
        assert all(start % ALIGNMENT == 0 for start, _ in ordered)
        assert all(start + size <= after for (start, size), (after, _) in zip(ordered, ordered[1:]))
    assert arena_.in_use >= sum(blocks.values())


def test_freed_memory_is_reused_and_neighbours_grow_together():
    arena_ = arena()
    blocks = [arena_.allocate(100_000) for _ in range(10)]
    held = arena_.committed
    for block in blocks[::2] + blocks[1::2]:
        arena_.free(block)
    assert arena_.in_use == 0
    assert arena_.allocate(1_000_000) == 0
    assert arena_.committed == held


def test_thousands_of_random_sizes_do_not_grow_the_arena():
    arena_, random_ = arena(), random.Random(2)
    arena_.free(arena_.allocate(2_000_000))
    for _ in range(5000):
        arena_.free(arena_.allocate(random_.randrange(1_000_000)))
    assert arena_.committed <= 2_000_000 + 4096


def test_pages_are_reserved_before_a_block_is_given():
    reserved = []
    arena_ = arena(reserve=lambda fd, offset, size: reserved.append((offset, offset + size)))
    for _ in range(5):
        start = arena_.allocate(200_000)
        assert any(low <= start and start + 200_000 <= high for low, high in merged(reserved))


def merged(ranges):
    ends = sorted(ranges)
    whole = [ends[0]]
    for low, high in ends[1:]:
        if low == whole[-1][1]:
            whole[-1] = (whole[-1][0], high)
        else:
            whole.append((low, high))
    return whole


def test_a_full_shared_memory_is_an_error_with_sizes_and_the_arena_goes_on():
    full = [False]

    def reserve(fd, offset, size):
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")

    arena_ = arena(reserve=reserve)
    kept = arena_.allocate(1000)
    full[0] = True
    with pytest.raises(SharedMemoryExhausted, match=r"10000000 .*No space left.*/dev/shm") as caught:
        arena_.allocate(10_000_000 + arena_.committed - 1024)
    assert isinstance(caught.value, MemoryError)
    assert caught.value.in_use == arena_.in_use
    assert pickle.loads(pickle.dumps(caught.value)).wanted == caught.value.wanted
    full[0] = False
    assert arena_.allocate(10_000_000) > kept


def test_the_size_is_a_budget():
    arena_ = arena(size=2**20)
    arena_.allocate(2**19)
    with pytest.raises(SharedMemoryExhausted, match="budget of 1048576 bytes is used up"):
        arena_.allocate(2**20)
    arena_.allocate(2**19)


class Pages:
    """An honest fake of a file's memory: which pages are there."""

    def __init__(self):
        self.there, self.full = set(), False

    def reserve(self, fd, offset, size):
        wanted = set(range(offset // PAGE, (offset + size) // PAGE))
        if self.full and not wanted <= self.there:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.there |= wanted

    def give_back(self, fd, offset, size):
        assert offset % PAGE == size % PAGE == 0
        self.there -= set(range(offset // PAGE, (offset + size) // PAGE))
        return True


def test_every_block_has_its_pages_however_often_others_were_given_back():
    pages, random_ = Pages(), random.Random(2)
    arena_ = Arena(-1, SIZE, pages.reserve, pages.give_back)
    blocks = {}
    for _ in range(3000):
        choice = random_.random()
        if choice < 0.1:
            arena_.trim()
        elif blocks and choice < 0.55:
            start = random_.choice(list(blocks))
            arena_.free(start)
            del blocks[start]
        else:
            size = random_.choice([64, 5000, 100_000, 1_000_000])
            blocks[arena_.allocate(size)] = size
        for start, size in blocks.items():
            assert set(range(start // PAGE, (start + size - 1) // PAGE + 1)) <= pages.there
        assert arena_.committed == len(pages.there) * PAGE


def test_memory_that_was_given_back_and_cannot_be_had_again_is_an_error_and_the_arena_goes_on():
    pages = Pages()
    arena_ = Arena(-1, SIZE, pages.reserve, pages.give_back)
    arena_.free(arena_.allocate(1_000_000))
    arena_.trim()
    pages.full = True
    with pytest.raises(SharedMemoryExhausted, match="No space left"):
        arena_.allocate(500_000)
    pages.full = False
    assert arena_.allocate(1_000_000) == 0


@pytest.mark.parametrize("huge", [False, True])
def test_blocks_are_backed_by_memory_before_they_are_touched(make_segment, huge):
    fd = make_segment(SIZE)
    arena_ = arena_over(fd, Mapping(fd, SIZE), huge)
    blocks = [arena_.allocate(3_000_000) for _ in range(3)]
    assert os.fstat(fd).st_blocks * 512 >= 9_000_000
    for block in blocks:
        arena_.free(block)
    arena_.trim()
    assert os.fstat(fd).st_blocks * 512 < 2**21
    arena_.allocate(3_000_000)
    assert os.fstat(fd).st_blocks * 512 >= 3_000_000


def test_huge_pages_are_asked_for_where_the_system_offers_them(tmp_path):
    setting = tmp_path / "shmem_enabled"
    for text, offered in (
        ("always within_size [advise] never deny force", True),
        ("always advise [never] deny", False),
    ):
        setting.write_text(text)
        assert huge_pages_offered(str(setting)) is offered
    assert not huge_pages_offered(str(tmp_path / "absent"))
