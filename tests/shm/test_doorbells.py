import fcntl
import os
import resource
import threading

import pytest
from peers import SEGMENT_KINDS, Peer

from neuropod_worker.shm.doorbell import PipeDoorbell, SemaphoreDoorbell
from neuropod_worker.shm.mapping import Mapping


@pytest.fixture(params=["semaphore", "pipe"])
def bell(request):
    if request.param == "pipe":
        bell = PipeDoorbell(*os.pipe())
    else:
        fd = SEGMENT_KINDS["posix"](4096)
        bell = SemaphoreDoorbell(Mapping(fd, 4096), 64, create=True)
        os.close(fd)
    yield bell
    bell.close()


def test_each_ring_is_taken_once(bell):
    for _ in range(3):
        bell.ring()
    assert [bell.try_wait() for _ in range(4)] == [True, True, True, False]


def test_a_wait_takes_a_ring_that_came_before(bell):
    bell.ring()
    assert bell.wait(10)
    assert not bell.try_wait()


def test_a_wait_ends_without_a_ring(bell):
    assert not bell.wait(0.01)
    assert not bell.wait(0)


def test_a_ring_of_another_process_wakes_a_blocked_waiter(bell):
    peer = Peer(bell.ring)
    assert bell.wait(30)
    peer.finish()


def test_a_blocked_wait_lets_other_threads_run(bell):
    ringer = threading.Thread(target=bell.ring)
    waiting = threading.Thread(target=lambda: taken.append(bell.wait(30)))
    taken = []
    waiting.start()
    ringer.start()
    waiting.join(30)
    assert taken == [True]
    ringer.join()


def test_a_pipe_may_have_any_numbers_for_its_ends():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[0] <= 1100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1200, limits[1]))
    ends = os.pipe()
    bell = PipeDoorbell(*(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 1100) for end in ends))
    try:
        assert not bell.wait(0.01)
        bell.ring()
        assert bell.wait(10)
    finally:
        bell.close()
        for end in ends:
            os.close(end)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
