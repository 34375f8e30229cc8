"""One model in several workers: who gets which call, and what a death of one means to the others."""

import os
import signal
import threading

import numpy as np
import pytest
from gates import GATED, INPUTS, OUTPUTS, Gate

from neuropod_ope import HandleClosed, InferTimeout, LoadError, WorkerDied

pytestmark = pytest.mark.workers


@pytest.fixture
def gates(tmp_path):
    gates = [Gate(tmp_path, f"gate{number}") for number in range(6)]
    yield gates
    for gate in gates:
        gate.open()


@pytest.fixture
def model(load_out_of_process):
    return load_out_of_process(GATED, INPUTS, OUTPUTS, instances=3)


def test_each_instance_is_a_worker_of_its_own(model):
    pids = {worker.pid for worker in model.workers}
    assert len(pids) == 3
    assert int(model.infer({"x": [1.0]})["pid"]) in pids
    assert all(f"pid={pid}" in repr(model) for pid in pids)


def test_calls_run_at_the_same_time_and_further_ones_wait_behind_the_least_busy(model, gates):
    held = [model.submit(gate.inputs) for gate in gates[:3]]
    for gate in gates[:3]:
        gate.wait_begun()  # all of them: each has a worker of its own
    waiting = [model.submit({"x": [float(number)]}) for number in range(60)]
    for gate in gates:
        gate.open()
    pids = [int(future.result()["pid"]) for future in held]
    assert sorted(pids) == sorted(worker.pid for worker in model.workers)
    assert [future.result()["y"].tolist() for future in waiting] == [[2.0 * number] for number in range(60)]
    assert [int(future.result()["pid"]) for future in waiting] == pids * 20, "each in its turn"


def test_threads_that_wait_are_spread_over_the_instances(model, gates):
    pids = []
    threads = [
        threading.Thread(target=lambda gate=gate: pids.append(int(model.infer(gate.inputs)["pid"])))
        for gate in gates[:3]
    ]
    for thread in threads:
        thread.start()
    for gate in gates[:3]:
        gate.wait_begun()
    for gate in gates[:3]:
        gate.open()
    for thread in threads:
        thread.join()
    assert sorted(pids) == sorted(worker.pid for worker in model.workers)


def test_an_idle_model_is_served_by_the_same_worker(model):
    assert len({int(model.infer({"x": [1.0]})["pid"]) for _ in range(10)}) == 1


def test_many_are_answered_in_their_order_by_all_instances(model):
    inputs = ({"x": np.full(1 + number % 2 * 5000, float(number))} for number in range(300))
    answers = list(model.infer_many(inputs, max_in_flight=12))
    assert [float(answer["y"][0]) for answer in answers] == [2.0 * number for number in range(300)]
    assert {int(answer["pid"]) for answer in answers} == {worker.pid for worker in model.workers}


LOADS_BEHIND_A_GATE = """
import os, time
def wait(path):
    open(path + f".{os.getpid()}", "w").close()
    while not os.path.exists(path): time.sleep(0.001)
if os.path.exists(%r): wait(%r)
"""


def test_what_a_dead_instance_had_not_begun_is_run_by_the_others_while_it_comes_back(
    load_out_of_process, tmp_path, gates
):
    dead, back = tmp_path / "dead", tmp_path / "back"
    code = LOADS_BEHIND_A_GATE % (str(dead), str(back)) + GATED
    model = load_out_of_process(code, INPUTS, OUTPUTS, instances=2)
    held = [model.submit(gate.inputs) for gate in gates[:2]]
    for gate in gates[:2]:
        gate.wait_begun()
    waiting = [model.submit({"x": [float(number)]}) for number in range(100)]
    waited = []
    caller = threading.Thread(target=lambda: waited.append(model.infer({"x": [7.0]})["y"].tolist()))
    caller.start()
    dead.touch()
    first, second = (worker.pid for worker in model.workers)
    os.kill(first, signal.SIGKILL)
    gates[1].open()
    try:
        outcomes = [future.exception() for future in held]
        assert [type(outcome) for outcome in outcomes] == [WorkerDied, type(None)]
        assert {int(future.result()["pid"]) for future in waiting} == {second}, "the other one is not back yet"
        assert [future.result()["y"].tolist() for future in waiting] == [[2.0 * number] for number in range(100)]
        caller.join()
        assert waited == [[14.0]]
    finally:
        back.touch()
    while sum(worker.state == "ready" for worker in model.workers) < 2:
        os.sched_yield()
    assert sorted(worker.restarts for worker in model.workers) == [0, 1]


def test_a_timeout_costs_one_instance_and_the_calls_of_no_other(model, gates):
    hanging = model.submit(gates[0].inputs, timeout=0.3)
    held = model.submit(gates[1].inputs)
    others = [model.submit({"x": [float(number)]}) for number in range(50)]
    assert isinstance(hanging.exception(), InferTimeout)
    gates[1].open()
    assert held.result()["y"] == [1.0]
    assert [future.result()["y"].tolist() for future in others] == [[2.0 * number] for number in range(50)]


def test_under_any_number_of_deaths_each_call_is_answered_or_told_that_its_worker_died(model):
    stop = threading.Event()

    def kill():
        count = 0
        while not stop.wait(0.05):
            pids = [worker.pid for worker in model.workers if worker.state == "ready"]
            count += 1
            if pids:
                try:
                    os.kill(pids[count % len(pids)], signal.SIGKILL)
                except ProcessLookupError:
                    pass

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        futures = [model.submit({"x": [float(number)]}) for number in range(900)]
        outcomes = [future.exception(timeout=100) for future in futures]
        for number in range(200):
            try:
                assert model.infer({"x": [float(number)]}, timeout=100)["y"] == [2.0 * number]
            except WorkerDied:
                pass
    finally:
        stop.set()
        killer.join()
    assert {type(outcome) for outcome in outcomes} <= {type(None), WorkerDied}
    answers = [
        None if outcome else float(future.result()["y"][0]) for future, outcome in zip(futures, outcomes, strict=True)
    ]
    assert all(answer in (None, 2.0 * number) for number, answer in enumerate(answers))
    assert outcomes.count(None) > 450


def test_a_model_that_cannot_be_loaded_says_so_once_and_leaves_nothing(load_out_of_process):
    with pytest.raises(LoadError, match="no such luck"):
        load_out_of_process("raise ValueError('no such luck')", INPUTS, OUTPUTS, instances=3)


def test_instances_load_at_the_same_time(load_out_of_process, tmp_path):
    code = f"""
import os, time
folder = {str(tmp_path)!r}
open(os.path.join(folder, f"loads.{{os.getpid()}}"), "w").close()
while sum(name.startswith("loads.") for name in os.listdir(folder)) < 3: time.sleep(0.001)
{GATED}"""
    model = load_out_of_process(code, INPUTS, OUTPUTS, instances=3)
    assert model.infer({"x": [1.0]})["y"] == [2.0]


def test_closing_ends_all_instances(model, gates):
    futures = [model.submit(gate.inputs) for gate in gates]
    pids = [worker.pid for worker in model.workers]
    model.close()
    assert all(isinstance(future.exception(), HandleClosed) for future in futures)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_inputs_in_shared_memory_reach_whichever_instance_runs_the_call(load_out_of_process, tmp_path):
    model = load_out_of_process(GATED, INPUTS, OUTPUTS, instances=2)
    gates = [Gate(tmp_path, f"shared{number}") for number in range(2)]
    arrays = [model.allocate("x", (30_000,)) for _ in gates]
    futures = []
    for number, (gate, array) in enumerate(zip(gates, arrays, strict=True)):
        array[:] = number
        futures.append(model.submit({"x": array, "gate": str(gate.path)}))
    for gate in gates:
        gate.wait_begun()
        gate.open()
    assert all((future.result()["y"] == 2 * number).all() for number, future in enumerate(futures))
    assert len({int(future.result()["pid"]) for future in futures}) == 2
