"""What the protocol allows and the public handle does not use yet: several models in a worker, several requests in
flight, unloading, timestamps, and the stats page."""

import logging
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neuropod_ope.client.connection import IN_FLIGHT_LIMIT, Connection
from neuropod_ope.client.executor import Request
from neuropod_ope.client.handshake import Launch
from neuropod_worker.shm import control
from neuropod_worker.wire import messages as m

pytestmark = pytest.mark.workers

ANY = {"x": ("float64", None)}


@pytest.fixture(params=[False, True], ids=["Linux", "portable"])
def connection(request, load_out_of_process):
    launch = Launch(Path(sys.executable), (), dict(os.environ), portable=request.param)
    loop = load_out_of_process.runtime._loop
    made = Connection(launch, "several", loop, logging.getLogger("test"), None, lambda process: None)
    yield made
    made.close(1.0)


@pytest.fixture
def package(load_out_of_process):
    def times(factor):
        code = f"def load(d):\n    return lambda x: {{'x': x * {factor}}}\n"
        return load_out_of_process.package(code, ANY, ANY)

    return times


def answered(connection, call):
    assert connection.wait(call, time.monotonic() + 30)
    return call.reply


def request(*values):
    array = np.array(values, dtype=np.float64)
    return Request(("x", array.dtype, array.shape), {"x": array}, None)


def load(connection, model, path):
    return answered(connection, connection.load(model, path, None, True, True))


def test_several_models_in_one_worker_are_addressed_independently(connection, package):
    for model in (1, 2, 7):
        assert type(load(connection, model, package(model))) is m.Loaded
    for number in range(20):
        for model in (7, 1, 2):
            call = connection.infer(model, request(float(number)), 0)
            assert type(answered(connection, call)) is m.Result
            assert call.outputs["x"].tolist() == [number * model]


def test_a_failed_load_of_one_model_does_not_disturb_the_others_and_its_id_is_free(connection, package, tmp_path):
    load(connection, 1, package(3))
    failed = load(connection, 2, str(tmp_path))
    assert (type(failed), failed.kind) == (m.Failed, m.PACKAGE)
    call = connection.infer(1, request(1.0), 0)
    answered(connection, call)
    assert call.outputs["x"] == [3]
    assert type(load(connection, 2, package(5))) is m.Loaded


def test_an_unloaded_model_is_gone_and_its_id_is_free(connection, package):
    load(connection, 1, package(3))
    with connection._lock:
        call = connection._send(1, m.Unload, 0)
    assert type(answered(connection, call)) is m.Unloaded
    load(connection, 1, package(4))
    call = connection.infer(1, request(1.0), 0)
    answered(connection, call)
    assert call.outputs["x"] == [4]


def test_requests_in_flight_are_answered_each_with_its_own_result(connection, package):
    load(connection, 1, package(2))
    requests = [request(*[float(number)] * (1 + number % 3)) for number in range(IN_FLIGHT_LIMIT)]
    calls = [connection.infer(1, each, 0) for each in requests]
    for number in reversed(range(IN_FLIGHT_LIMIT)):
        answered(connection, calls[number])
        assert calls[number].outputs["x"].tolist() == [2 * number] * (1 + number % 3)


def test_a_queued_request_can_be_cancelled_and_is_answered_so(connection, load_out_of_process, tmp_path):
    started, release = tmp_path / "started", tmp_path / "release"
    code = f"""
import os, time
def load(d):
    def run(x):
        if x[0] == 1:
            open({str(started)!r}, "w").close()
            while not os.path.exists({str(release)!r}): time.sleep(0.001)
        return {{"x": x}}
    return run
"""
    load(connection, 1, load_out_of_process.package(code, ANY, ANY))
    slow = connection.infer(1, request(1.0), 0)
    while not started.exists():
        os.sched_yield()
    queued = [connection.infer(1, request(2.0), 0) for _ in range(3)]
    connection.cancel(queued[1])
    connection.cancel(queued[2])
    assert connection.stats().request == slow.request
    assert connection.stats().step == control.RUNNING
    release.touch()
    kinds = [type(answered(connection, call)) for call in (slow, *queued)]
    assert kinds == [m.Result, m.Result, m.Cancelled, m.Cancelled]
    last = connection.infer(1, request(3.0), 0)
    assert type(answered(connection, last)) is m.Result


def test_replies_carry_the_workers_timestamps_in_order_on_our_clock(connection, package):
    load(connection, 1, package(2))
    before = time.monotonic_ns()
    reply = answered(connection, connection.infer(1, request(1.0), 0))
    times = [before, reply.received, reply.started, reply.finished, reply.replied, time.monotonic_ns()]
    assert times == sorted(times)


def test_the_stats_page_counts_what_a_worker_has_done(connection, load_out_of_process):
    code = "def load(d):\n    return lambda x: {'x': 1 / int(x[0]) + x}\n"
    load(connection, 1, load_out_of_process.package(code, ANY, ANY))
    for value in (1.0, 0.0, 2.0):
        answered(connection, connection.infer(1, request(value), 0))
    while connection.stats().step != control.WAITING:  # the page is written when it goes to sleep
        os.sched_yield()
    stats = connection.stats()
    assert (stats.pid, stats.completed, stats.failed) == (connection.process.pid, 2, 1)
    assert stats.busy > 0
