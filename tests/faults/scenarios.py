"""Conversations that take every step of the protocol between them, for processes that are stopped at one of them.

Each is a function of a `Stage`. It checks every answer that it gets and bears with a worker that dies: a call may
fail with WorkerDied, and nothing else.
"""

import contextlib
import functools
import gc
import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from neuropod_ope import LoadError, ModelError, Runtime, WorkerDied
from neuropod_ope.client import handshake
from neuropod_ope.client.connection import Connection
from neuropod_ope.client.executor import Request
from neuropod_worker.wire import messages as m

MANY = tuple(f"another_input_{number}" for number in range(40))  # whose definition does not fit into a slot

MODEL = """
import os, sys, time
def load(data_dir):
    def run(x, flag="", **more):
        order, *arguments = str(flag).split() or [""]
        if order == "wait":
            started, release, order = arguments
            open(started, "w").close()
            while not os.path.exists(release): time.sleep(0.0005)
        if order == "raise":
            raise ValueError("as told")
        if order == "raise_much":
            raise ValueError("as told, " * 1000)
        if order == "spoil":
            sys.meta_path = None
        return {"y": x * 2}
    return run
"""
WITH_A_CHILD = MODEL.replace("    def run", "    if os.fork() == 0: time.sleep(1000)\n    def run", 1)
BROKEN = "raise ValueError('broken')\n"


class Stage:
    """Where a scenario plays: ``package`` of MODEL, ``broken`` one of BROKEN, workers run by ``python``."""

    def __init__(self, package, broken, folder, python, cache, marks=(), **policy):
        self.package = package
        self.broken = broken
        self.folder = folder
        self.python = python
        self.portable = policy.get("portable", False)
        self.runtime = Runtime(cache_dir=cache, environ_allow=marks, **policy)
        self.models = []

    def load(self, loads, **options):
        model = loads(self.package, validate=False, lazy=True, **options)
        self.models.append(model)
        return model

    def file(self):
        return Path(tempfile.mkdtemp(dir=self.folder), "file")

    def connection(self):
        launch = handshake.Launch(self.python, (), dict(os.environ), portable=self.portable, wait="block")
        return Connection(launch, "stage", self.runtime._loop, logging.getLogger("stage"), None, lambda process: None)


def bearing_a_death(scenario):
    """For one that plays on a connection, whose worker nobody replaces."""

    @functools.wraps(scenario)
    def bearing(stage):
        with contextlib.suppress(WorkerDied):
            scenario(stage)

    return bearing


def calls(stage):
    """A model is loaded, called in every way, and closed."""
    with stage.load(stage.runtime.load, environment=stage.python) as model:
        for size in (3, 3, 100_000):  # defined, repeated, viewed
            doubles(model, {"x": np.arange(float(size))})
        fails(model)
        doubles(model, {"x": np.arange(3.0), **dict.fromkeys(MANY, np.zeros(1))})
        again(model)
    stage.runtime.close()


def doubles(model, inputs):
    with contextlib.suppress(WorkerDied):
        assert (model.infer(inputs)["y"] == 2 * inputs["x"]).all()


def again(model):
    """After a death, and only then, there is a worker that nobody kills."""
    try:
        answer = model.infer({"x": np.arange(3.0)})
    except WorkerDied:
        answer = model.infer({"x": np.arange(3.0)})
    assert answer["y"].tolist() == [0, 2, 4]


def fails(model):
    """With a message that does not fit into a slot."""
    try:
        model.infer({"x": np.zeros(1), "flag": "raise_much"})
    except ModelError as error:
        assert "as told" in str(error)
    except WorkerDied:
        pass


def inputs_that_lie_in_files(stage):
    """Allocated, wrapped and sealed; one file is given up, and what is unused is returned."""
    path = stage.file()
    path.write_bytes(np.arange(30000.0).tobytes())
    with stage.load(stage.runtime.load, environment=stage.python) as model:
        allocated = model.allocate("x", (30000,))  # small ones are copied
        allocated[:] = 4
        doubles(model, {"x": allocated})
        wrapped = model.wrap("x", path, (30000,))
        doubles(model, {"x": wrapped})
        sealed = model.seal("x", np.ones(30000))
        doubles(model, {"x": sealed})
        del wrapped, sealed
        gc.collect()
        doubles(model, {"x": allocated})
        model.free_unused_memory()
        again(model)
    stage.runtime.close()


def a_load_that_fails(stage):
    try:
        stage.runtime.load(stage.broken, environment=stage.python)
    except LoadError as error:
        assert "broken" in str(error)
    except WorkerDied:
        pass
    stage.runtime.close()


def a_model_that_is_unloaded(stage):
    """Two in one worker; the second one's unloading fails."""
    with stage.runtime.worker(stage.python) as worker:
        first, second = (stage.load(worker.load) for _ in range(2))
        for model in (first, second):
            doubles(model, {"x": np.ones(3)})
        first.close()
        doubles(second, {"x": np.ones(3), "flag": "spoil"})
        second.close()
    stage.runtime.close()


@bearing_a_death
def calls_that_are_cancelled(stage):
    """One in the queue; two that run, and then return and raise."""
    connection = stage.connection()
    loaded(connection, 1, stage.package)
    for order in ("-", "raise"):
        running, release = started(stage, connection, order)
        queued = connection.infer(1, request(1.0), 0)
        connection.cancel(queued)
        connection.cancel(running)
        release.touch()
        expect(connection, queued, m.Cancelled)
        expect(connection, running, m.Result if order == "-" else m.Failed)
    connection.close(1.0)
    stage.runtime.close()


@bearing_a_death
def a_shutdown_with_calls_in_flight(stage):
    connection = stage.connection()
    loaded(connection, 1, stage.package)
    running, release = started(stage, connection, "-")
    calls = {
        connection.infer(1, request(2.0), 0): m.Result,
        connection.infer(1, request(2.0, "raise"), 0): m.Failed,
        connection.infer(1, request(3.0), 0): m.Cancelled,
        connection.load(2, stage.package, None, True, False): m.Loaded,
        connection.load(3, stage.broken, None, True, False): m.Failed,
    }
    connection.cancel(list(calls)[2])
    with connection._lock:
        if connection.ended is None:
            calls[connection._send(1, m.Unload, 0)] = m.Unloaded
            connection._put(m.Shutdown(connection.incarnation, 0, 0, 0, (), ()))
    release.touch()
    for call, kind in {running: m.Result, **calls}.items():
        expect(connection, call, kind)
    connection.process.end(60.0, "it was asked to")
    stage.runtime.close()


def loaded(connection, model, package):
    expect(connection, connection.load(model, package, None, True, False), m.Loaded)


def started(stage, connection, order):
    """A call that the worker has begun, and the file that lets it go on."""
    begun, release = stage.file(), stage.file()
    call = connection.infer(1, request(1.0, f"wait {begun} {release} {order}"), 0)
    while not begun.exists() and connection.process.death is None:
        os.sched_yield()
    return call, release


def expect(connection, call, kind):
    """The answer is this one, unless the worker died."""
    assert connection.wait(call, time.monotonic() + 60)
    if call.reply is None:
        assert connection.ended.death is not None
        return
    assert type(call.reply) is kind
    if kind is m.Result:
        assert call.outputs["y"] in (2, 4)


def request(number, order=""):
    inputs = {"x": np.array([number]), "flag": np.array(order)}
    signature = tuple(item for name, array in inputs.items() for item in (name, array.dtype, array.shape))
    return Request(signature, inputs, None)


def a_worker_that_refuses(stage):
    ours, handshake.libc_name = handshake.libc_name, lambda: "another C library"
    try:
        stage.connection()
    except LoadError as error:
        assert "another C library" in str(error)
    except WorkerDied:
        pass
    else:
        raise AssertionError("it was not refused")
    finally:
        handshake.libc_name = ours
    stage.runtime.close()


SCENARIOS = {
    scenario.__name__.replace("_", " "): scenario
    for scenario in (
        calls,
        inputs_that_lie_in_files,
        a_load_that_fails,
        a_model_that_is_unloaded,
        calls_that_are_cancelled,
        a_shutdown_with_calls_in_flight,
        a_worker_that_refuses,
    )
}

# Functions that take the same steps in every scenario are stepped through in one of them.
ONLY_IN = {"receive": "a load that fails", "fall_asleep": "calls", "wake_up": "calls"}
