"""Models come back by themselves: at once, later, from a spare worker, or not at all and then they say why."""

import gc
import logging
import os
import queue
import re
import signal
import threading

import numpy as np
import pytest

from neuropod_ope import HandleClosed, InferTimeout, LoadError, RestartPolicy, Runtime, WorkerDied
from neuropod_ope.supervisor.events import LEVELS
from neuropod_ope.supervisor.states import MODEL

pytestmark = pytest.mark.workers

IN = {"x": ("float64", None), "order": ("string", ())}
OUT = {"y": ("float64", None), "pid": ("int64", ())}

# Runs ``on_load`` when it is loaded, then notes that in a file, one line for each load.
MODEL_CODE = """
import os, signal, time
folder = {folder!r}
def loads():
    return len(open(folder + "/loads").readlines()) if os.path.exists(folder + "/loads") else 0
def load(data_dir):
    {on_load}
    with open(folder + "/loads", "a") as file: file.write("loaded\\n")
    def run(x, order=""):
        if order == "kill": os.kill(os.getpid(), signal.SIGKILL)
        if order == "scribble and kill once":
            x[:] = 77
            if loads() == 1: os.kill(os.getpid(), signal.SIGKILL)
            return {{"y": x, "pid": os.getpid()}}
        if str(order).startswith("kill until "):
            if loads() < int(str(order).split()[-1]): os.kill(os.getpid(), signal.SIGKILL)
        return {{"y": x * 2, "pid": os.getpid()}}
    return run
"""
GATE = "while not os.path.exists(folder + '/gate'): time.sleep(0.001)"


class Told:
    """What a model's on_event has heard. The waits end because events come; pytest's timeout ends them otherwise."""

    def __init__(self):
        self.events = []
        self._queue = queue.SimpleQueue()

    def __call__(self, event):
        self._queue.put(event)

    def wait_for(self, name):
        """The next event of that name."""
        while True:
            self.events.append(self._queue.get())
            if self.events[-1].event == name:
                return self.events[-1]

    def names(self):
        while not self._queue.empty():
            self.events.append(self._queue.get())
        return [event.event for event in self.events]


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def load(load_in_workers, tmp_path, told):
    def load(on_load="pass", **options):
        code = MODEL_CODE.format(folder=str(tmp_path), on_load=on_load)
        return load_in_workers(code, IN, OUT, on_event=told, **options)

    return load


@pytest.fixture
def loads(tmp_path):
    return lambda: (tmp_path / "loads").read_text().count("loaded")


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def call(model, order="", **options):
    return model.infer({"x": [1.0], "order": order}, **options)


def crash(model):
    with pytest.raises(WorkerDied) as caught:
        call(model, "kill")
    return caught.value


def test_a_model_is_loaded_again_before_anybody_calls_it(load, told, loads):
    model = load()
    pid = model.workers[0].pid
    kill(pid)
    assert told.wait_for("restart").cause.pid == pid
    loaded = told.wait_for("loaded")
    assert loads() == 2
    assert (loaded.pid, loaded.restarts, loaded.state) == (model.workers[0].pid, 1, "ready")
    assert told.names() == ["start", "loaded", "restart", "loaded"]
    assert call(model)["pid"] == loaded.pid != pid


def test_calls_wait_for_the_fresh_worker_as_long_as_their_deadline_allows(load, told, tmp_path, loads):
    model = load(GATE.replace("while", "while loads() > 0 and"))
    kill(model.workers[0].pid)
    told.wait_for("restart")
    with pytest.raises(InferTimeout, match=r"the load .* did not finish in time; it goes on, because .* SIGKILL"):
        call(model, timeout=0.05)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(call(model)["y"].tolist())) for _ in range(3)]
    for thread in threads:
        thread.start()
    (tmp_path / "gate").touch()
    for thread in threads:
        thread.join()
    assert answers == [[2.0]] * 3
    assert loads() == 2, "the timeout was of the call and not of the load"


def test_a_first_call_that_times_out_leaves_the_load_going(load, tmp_path, loads):
    model = load(GATE, lazy=True)
    with pytest.raises(InferTimeout, match=r"the load .* did not finish in time"):
        call(model, timeout=0.05)
    (tmp_path / "gate").touch()
    assert call(model)["y"] == [2]
    assert loads() == 1
    assert model.workers[0].restarts == 0


def test_a_model_that_cannot_be_loaded_again_stops_and_calls_raise_the_cause(load, told, tmp_path, loads):
    model = load("if os.path.exists(folder + '/broken'): raise ValueError('weights are gone')")
    (tmp_path / "broken").touch()
    kill(model.workers[0].pid)
    stopped = told.wait_for("give up")
    assert (stopped.state, type(stopped.cause)) == ("stopped", LoadError)
    for _ in range(2):
        with pytest.raises(LoadError, match="weights are gone") as caught:
            call(model)
        assert "in load" in caught.value.remote_traceback
    assert told.names().count("restart") == 1
    (tmp_path / "broken").unlink()
    with pytest.raises(LoadError):
        call(model)
    model.load()
    assert call(model)["y"] == [2]
    assert loads() == 2


def test_a_fresh_worker_that_exits_while_it_loads_stops_the_model_too(load, told):
    model = load("if loads() > 0: os._exit(5)")
    kill(model.workers[0].pid)
    assert told.wait_for("give up").cause.exit_code == 5
    with pytest.raises(WorkerDied, match="exited with status 5 while it loaded the model"):
        call(model)


def test_a_fresh_worker_that_is_killed_while_it_loads_is_tried_again(load, told):
    code = "open(folder + '/tries', 'a').write('x')\n"
    code += "    if len(open(folder + '/tries').read()) in (2, 3): os.kill(os.getpid(), 9)"
    model = load(code, restart=RestartPolicy(backoff=0.01))
    kill(model.workers[0].pid)
    told.wait_for("loaded"), told.wait_for("loaded")
    assert [event.event for event in told.events if event.cause is not None] == ["restart", "back off", "back off"]
    assert [event.delay > 0 for event in told.events if event.event == "back off"] == [True, True]
    assert call(model)["y"] == [2]


def test_a_crash_loop_ends_at_the_ceiling_and_a_load_begins_anew(load, told, loads):
    model = load(restart=RestartPolicy(backoff=0.0, ceiling=3))
    for _ in range(3):
        last = crash(model)
    assert told.wait_for("give up").cause.pid == last.pid
    for _ in range(3):
        with pytest.raises(WorkerDied) as caught:
            call(model)
        assert caught.value.pid == last.pid, "nothing was started"
    assert loads() == 3
    model.load()
    assert call(model)["y"] == [2]
    assert model.workers[0].restarts == 3


def test_workers_that_answer_are_replaced_however_often_they_die(load):
    model = load(restart=RestartPolicy(ceiling=2))
    for _ in range(5):
        assert call(model)["y"] == [2]
        crash(model)
    assert call(model)["y"] == [2]


def test_without_restarts_the_first_death_is_the_last(load, told):
    model = load(restart=RestartPolicy(ceiling=0))
    call(model)
    pid = crash(model).pid
    told.wait_for("give up")
    with pytest.raises(WorkerDied) as caught:
        call(model)
    assert caught.value.pid == pid
    assert "replace" not in str(caught.value)


def test_deadlines_hold_while_a_model_waits_for_its_next_start(load, told):
    model = load(restart=RestartPolicy(backoff=30.0, ceiling=None))
    kill(model.workers[0].pid)
    told.wait_for("restart"), told.wait_for("loaded")
    kill(model.workers[0].pid)
    assert told.wait_for("back off").delay > 1
    with pytest.raises(InferTimeout, match="it is waiting, because"):
        call(model, timeout=0.05)
    model.load()  # at once
    assert call(model)["y"] == [2]


def test_a_load_that_takes_longer_than_its_timeout_is_ended_and_shows_where_it_was(load, told):
    with pytest.raises(InferTimeout, match="the load of model 'sample' did not finish in time") as caught:
        load("time.sleep(1000)", load_timeout=1.0)
    assert re.search(r"main\.py.* in load", caught.value.stacks)
    assert "replaced" not in str(caught.value).partition("\n")[0]
    assert told.wait_for("failed").state == "new"
    assert call(load("", load_timeout=float("inf")))["y"] == [2]


# ---- standby


def test_a_spare_worker_takes_over_and_a_new_spare_is_loaded(load, told, loads):
    model = load(restart=RestartPolicy(standby=1))
    for restarts in range(1, 4):
        spare = told.wait_for("spare ready").pid
        assert [worker.state for worker in model.workers] == ["ready", "standby"]
        assert model.workers[1].pid == spare
        serving = model.workers[0].pid
        kill(serving)
        taken = told.wait_for("take over")
        assert (taken.pid, taken.cause.pid, taken.restarts) == (spare, serving, restarts)
        assert call(model)["pid"] == spare
    told.wait_for("spare ready")
    assert loads() == 5
    assert "restart" not in told.names(), "nobody had to wait for a load"


def test_a_call_that_kills_one_worker_after_the_other_is_survived_by_spares(load, told):
    model = load(restart=RestartPolicy(standby=2, backoff=0.0, ceiling=None))
    for _ in range(6):
        crash(model)
        assert call(model)["y"] == [2]
    told.wait_for("spare ready")


def test_when_a_worker_and_its_spares_die_at_once_a_fresh_one_answers_and_spares_come_back(load, told):
    model = load(restart=RestartPolicy(standby=2, backoff=0.0, ceiling=None))
    for _ in range(3):
        while len(model.workers) < 3:
            told.wait_for("spare ready")
        for worker in model.workers:
            kill(worker.pid)
        assert call(model, timeout=60)["y"] == [2]
    while len(model.workers) < 3:
        told.wait_for("spare ready")
    assert model.health().ready


def test_a_spare_that_dies_is_replaced_and_the_one_that_serves_never_notices(load, told):
    model = load(restart=RestartPolicy(standby=1))
    spare = told.wait_for("spare ready").pid
    kill(spare)
    assert told.wait_for("spare lost").cause.pid == spare
    assert told.wait_for("spare ready").pid != spare
    assert model.workers[0].restarts == 0
    assert call(model)["y"] == [2]


def test_a_spare_that_cannot_be_loaded_costs_the_model_nothing(load, told):
    model = load("if loads() == 1: raise MemoryError('one is enough')", restart=RestartPolicy(standby=1))
    assert "one is enough" in str(told.wait_for("spare lost").cause)
    assert call(model)["y"] == [2]
    assert len(model.workers) == 1


# ---- replays


def test_a_call_whose_worker_dies_is_made_again_on_the_inputs_as_they_were(load):
    model = load(retries=1)
    x = np.array([1.0, 2.0])
    answer = model.infer({"x": x, "order": "scribble and kill once"})
    assert answer["y"].tolist() == [77, 77]
    assert x.tolist() == [1, 2]
    model = load(retries=3)
    assert call(model, "kill until 5")["y"] == [2], "and not twice 77"


def test_a_call_is_made_again_only_so_often(load, loads):
    model = load(retries=2, restart=RestartPolicy(backoff=0.0))
    with pytest.raises(WorkerDied):
        call(model, "kill")
    assert call(model)["y"] == [2]
    assert loads() == 4


def test_without_retries_a_call_is_not_made_again(load, loads):
    model = load()
    crash(model)
    assert call(model)["y"] == [2]
    assert loads() == 2


# ---- events


def test_every_transition_is_a_record_in_the_log_with_its_event(load, told, caplog):
    caplog.set_level(logging.INFO, "neuropod_ope.supervisor")
    model = load()
    kill(model.workers[0].pid)
    told.wait_for("restart"), told.wait_for("loaded")
    model.close()
    events = [record.neuropod_event for record in caplog.records if hasattr(record, "neuropod_event")]
    assert [event.event for event in events] == told.names() == ["start", "loaded", "restart", "loaded", "close"]
    assert events == told.events
    state = "new"
    for event in events:
        state = MODEL[state][event.event]
        assert event.state == state
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert "SIGKILL" in caplog.text


def test_a_handle_that_nobody_holds_any_more_tells_of_its_close(load, told, caplog):
    caplog.set_level(logging.INFO, "neuropod_ope.supervisor")
    load()
    gc.collect()
    assert told.wait_for("close").state == "closed"
    assert "model 'sample': close, now closed" in caplog.text


def test_every_event_of_the_table_has_a_level():
    assert {event for row in MODEL.values() for event in row} <= set(LEVELS)


def test_a_callback_may_raise_call_the_model_and_close_it(load_out_of_process, tmp_path, caplog):
    answers = queue.SimpleQueue()

    def on_event(event):
        if event.restarts == 0:
            raise RuntimeError("no interest")
        answers.put(call(model)["y"].tolist())
        model.close()

    code = MODEL_CODE.format(folder=str(tmp_path), on_load="pass")
    model = load_out_of_process(code, IN, OUT, on_event=on_event)
    kill(model.workers[0].pid)
    assert answers.get() == [2.0]
    model.close()
    with pytest.raises(HandleClosed):
        call(model)
    assert "no interest" in caplog.text


def test_a_shared_worker_has_no_standby(tmp_path):
    with Runtime(cache_dir=tmp_path) as runtime, pytest.raises(ValueError, match="standby"):
        runtime.worker("/any/python", restart=RestartPolicy(standby=1))
