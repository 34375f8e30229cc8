import os
import threading
import time

import pytest
from peers import SEGMENT_KINDS, Peer

from neuropod_worker.shm.doorbell import PipeDoorbell, SemaphoreDoorbell
from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.shm.waiting import AdaptiveWait


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


def test_two_processes_play_ping_pong():
    bells = []
    for _ in range(2):
        fd = SEGMENT_KINDS["posix"](4096)
        bells.append(SemaphoreDoorbell(Mapping(fd, 4096), 0, create=True))
        os.close(fd)

    def answer():
        wait = AdaptiveWait(bells[0])
        for _ in range(1000):
            while not wait.wait_rung(30):
                pass
            bells[1].ring()

    peer = Peer(answer)
    wait = AdaptiveWait(bells[1])
    for _ in range(1000):
        bells[0].ring()
        while not wait.wait_rung(30):
            pass
    peer.finish()
    assert not bells[1].try_wait()


def test_an_adaptive_wait_ends_at_its_time_and_keeps_no_ring(bell):
    wait = AdaptiveWait(bell)
    for _ in range(12):  # through all its budgets
        assert not wait.wait_rung(0.001)
    assert not wait.wait_rung(-1)
    bell.ring()
    assert wait.wait_rung(30)


def test_a_wait_takes_no_longer_than_a_slice(bell):
    began = time.monotonic()
    assert not AdaptiveWait(bell).wait_rung(1e9)
    assert time.monotonic() - began < 60
