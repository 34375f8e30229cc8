"""What a worker tells of itself and the public handle does not show: timestamps in replies, and the stats page."""

import logging
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neuropod_ope.client.connection import Connection
from neuropod_ope.client.executor import Request
from neuropod_ope.client.handshake import Launch
from neuropod_worker.shm import control

pytestmark = pytest.mark.workers

ANY = {"x": ("float64", None)}


@pytest.fixture(params=[False, True], ids=["Linux", "portable"])
def load(request, load_out_of_process):
    launch = Launch(Path(sys.executable), (), dict(os.environ), portable=request.param)
    loop = load_out_of_process.runtime._loop
    connection = Connection(launch, "timed", loop, logging.getLogger("test"), None, lambda process: None)

    def load(code):
        """Code as model 1 of a worker."""
        answered(connection, connection.load(1, load_out_of_process.package(code, ANY, ANY), None, True, True))
        return connection

    yield load
    connection.close(1.0)


def answered(connection, call):
    assert connection.wait(call, time.monotonic() + 30)
    return call.reply


def request(*values):
    array = np.array(values, dtype=np.float64)
    return Request(("x", array.dtype, array.shape), {"x": array}, None)


def test_replies_carry_the_workers_timestamps_in_order_on_our_clock(load):
    connection = load("def load(d):\n    return lambda x: {'x': x * 2}\n")
    before = time.monotonic_ns()
    reply = answered(connection, connection.infer(1, request(1.0), 0))
    times = [before, reply.received, reply.started, reply.finished, reply.replied, time.monotonic_ns()]
    assert times == sorted(times)


def test_the_stats_page_counts_what_a_worker_has_done(load):
    connection = load("def load(d):\n    return lambda x: {'x': 1 / int(x[0]) + x}\n")
    for value in (1.0, 0.0, 2.0):
        answered(connection, connection.infer(1, request(value), 0))
    while connection.stats().step != control.WAITING:  # the page is written when it goes to sleep
        os.sched_yield()
    stats = connection.stats()
    assert (stats.pid, stats.completed, stats.failed) == (connection.process.pid, 2, 1)
    assert stats.busy > 0
