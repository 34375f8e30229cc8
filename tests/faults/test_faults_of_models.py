"""Every fault of a model, for real: what the caller sees, and that everything else is as before."""

import contextlib
import os
import pickle
import signal
from pathlib import Path

import misbehaving
import numpy as np
import psutil
import pytest
from faults import DIES_SOON, LIVES, LIVES_WITH_A_CHILD, OUTCOMES
from surroundings import NUMBERS, OUT, Machine, works

from neuropod_ope import NeuropodError, WorkerDied

pytestmark = pytest.mark.workers


@pytest.fixture(scope="module")
def shared_model(loader):
    code = Path(misbehaving.__file__).read_text(encoding="utf-8")
    return loader(code, {**NUMBERS, "flag": ("string", ())}, OUT)


@pytest.fixture
def model(shared_model):
    """In a worker in which nothing has gone wrong yet."""
    assert works(shared_model)
    yield shared_model
    with contextlib.suppress(ProcessLookupError):  # where the test failed before another one was there
        os.kill(shared_model.workers[0].pid, signal.SIGKILL)


def test_the_outcome_of_every_fault_is_told():
    assert list(OUTCOMES) == list(misbehaving.FAULTS)


@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_fault_is_told_and_everything_else_is_as_before(fault, model, bystander, marked):
    outcome = OUTCOMES[fault]
    machine = Machine(marked, lambda: {model.workers[0].pid, bystander.model.workers[0].pid})
    pid, restarts = model.workers[0].pid, model.workers[0].restarts
    provoke(model, fault, outcome)
    if outcome.worker == DIES_SOON:
        wait_replaced(model, pid)
    if outcome.worker == LIVES_WITH_A_CHILD:
        assert len(psutil.Process(pid).children()) == 1
        os.kill(pid, signal.SIGKILL)
    assert all(works(model) for _ in range(3))
    replaced = outcome.worker != LIVES
    assert (model.workers[0].pid != pid, model.workers[0].restarts) == (replaced, restarts + replaced)
    assert bystander.noticed_nothing()
    assert machine.is_as_before()


def provoke(model, fault, outcome):
    """A function of its own: an exception that is held keeps the memory of its call."""
    pid = model.workers[0].pid
    inputs = {"x": np.arange(3.0), "flag": fault}
    if outcome.worker == DIES_SOON:
        with contextlib.suppress(WorkerDied):
            model.infer(inputs, timeout=outcome.timeout)
        return
    if outcome.error is None:
        assert model.infer(inputs, timeout=outcome.timeout)["y"].tolist() == [0, 2, 4]
        return
    with pytest.raises(outcome.error, match=outcome.says) as caught:
        model.infer(inputs, timeout=outcome.timeout)
    error = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(error, NeuropodError)
    if outcome.error is WorkerDied:
        assert (error.pid, error.model, error.retryable) == (pid, "sample", True)
        assert error.request is not None
    assert {name: getattr(error, name) for name in outcome.facts} == outcome.facts


def wait_replaced(model, pid):
    """Call until another process answers; the call that the first one dies under may fail."""
    while model.workers[0].pid == pid:
        try:
            model.infer({"x": np.ones(3)})
        except WorkerDied as error:
            assert error.pid == pid
