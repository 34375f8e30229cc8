"""Several models in one worker: addressed, failing, ending and coming back independently of each other."""

import gc
import os
import queue
import signal
import threading

import pytest
from gates import GATED, INPUTS, OUTPUTS

from neuropod_ope import (
    HandleClosed,
    InferTimeout,
    LoadError,
    ModelError,
    RestartPolicy,
    WorkerDied,
    read_capsule,
    replay_capsule,
)

pytestmark = pytest.mark.workers

ANY = {"x": ("float64", None)}
PID = {"x": ("float64", None), "pid": ("int64", ())}


@pytest.fixture
def runtime(load_out_of_process):
    return load_out_of_process.runtime


@pytest.fixture
def package(load_out_of_process):
    def times(factor, before=""):
        code = f"import os, time\n{before}\ndef load(d):\n"
        code += f"    return lambda x: {{'x': x * {factor}, 'pid': os.getpid()}}\n"
        return load_out_of_process.package(code, ANY, PID)

    return times


@pytest.fixture
def worker(runtime, package):
    with runtime.worker(runtime.environment(package(0))) as worker:
        yield worker


def test_models_of_one_worker_are_addressed_independently(worker, package):
    models = {factor: worker.load(package(factor)) for factor in (2, 3, 5)}
    pids = set()
    for number in range(20):
        for factor, model in models.items():
            came = model.infer({"x": [float(number)]})
            assert came["x"].tolist() == [number * factor]
            pids.add(int(came["pid"]))
    assert len(pids) == 1
    assert {model.workers[0].pid for model in models.values()} == pids
    assert f"pid={pids.pop()} ready, 3 models" in repr(worker)


def test_an_interpreter_may_be_named_in_place_of_an_environment(runtime, package, load_out_of_process):
    environment = runtime.environment(package(2))
    with runtime.worker(environment.python) as worker:
        assert worker.load(package(2)).infer({"x": [1.0]})["x"] == [2]


def test_a_failed_load_of_one_does_not_disturb_the_others(worker, package):
    good = worker.load(package(2))
    with pytest.raises(LoadError, match="no such luck"):
        worker.load(package(3, before="raise RuntimeError('no such luck')"))
    other = worker.load(package(5))
    assert [model.infer({"x": [1.0]})["x"].tolist() for model in (good, other)] == [[2], [5]]
    assert good.workers[0].restarts == 0


def test_a_failed_call_of_one_does_not_disturb_the_others(worker, package, load_out_of_process):
    failing = worker.load(load_out_of_process.package("def load(d):\n    return lambda x: 1 / 0\n", ANY, ANY))
    good = worker.load(package(2))
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        failing.infer({"x": [1.0]})
    assert good.infer({"x": [1.0]})["x"] == [2]


def test_after_a_death_each_model_is_loaded_into_the_fresh_worker(worker, package, load_out_of_process, tmp_path):
    loads = tmp_path / "loads"
    noting = f"open({str(loads)!r}, 'a').write('x')"
    crash = load_out_of_process.package("import os\ndef load(d):\n    return lambda x: os.abort()\n", ANY, ANY)
    one, two, crashing = worker.load(package(2, noting)), worker.load(package(3, noting)), worker.load(crash)
    with pytest.raises(WorkerDied):
        crashing.infer({"x": [1.0]})
    while loads.read_text() != "xxxx":  # without a call of theirs
        os.sched_yield()
    assert one.infer({"x": [1.0]})["x"] == [2]
    assert two.infer({"x": [1.0]})["x"] == [3]
    assert one.workers[0].pid == two.workers[0].pid
    assert one.workers[0].restarts == two.workers[0].restarts == 1
    os.kill(one.workers[0].pid, signal.SIGKILL)
    assert two.infer({"x": [1.0]})["x"] == [3]


def test_a_model_that_is_closed_is_unloaded_and_the_others_go_on(worker, load_out_of_process, package, tmp_path):
    alive = tmp_path / "alive"
    code = f"""
import os
class Held:
    def __init__(self): open({str(alive)!r}, "w").close()
    def __del__(self): os.unlink({str(alive)!r})
    def __call__(self, x): return {{"x": x}}
def load(d): return Held()
"""
    held, other = worker.load(load_out_of_process.package(code, ANY, ANY)), worker.load(package(3))
    assert held.infer({"x": [1.0]})["x"] == [1]
    assert alive.exists()
    held.close()
    assert not alive.exists()
    with pytest.raises(HandleClosed):
        held.infer({"x": [1.0]})
    assert other.infer({"x": [1.0]})["x"] == [3]
    assert other.workers[0].restarts == 0
    again = worker.load(held.path)
    assert again.infer({"x": [1.0]})["x"] == [1]
    del again
    gc.collect()
    assert other.infer({"x": [1.0]})["x"] == [3], "unloaded by the supervisor, before or after this call"


def test_one_that_nobody_refers_to_leaves_the_others_alone(worker, package):
    for factor in range(1, 30):
        other = worker.load(package(factor))
        assert other.infer({"x": [1.0]})["x"] == [factor]
    assert other.workers[0].restarts == 0


def test_a_call_that_runs_while_another_model_is_closed_is_answered(worker, load_out_of_process, package, gate):
    slow, other = worker.load(load_out_of_process.package(GATED, INPUTS, OUTPUTS)), worker.load(package(3))
    came = []
    thread = threading.Thread(target=lambda: came.append(slow.infer(gate.inputs)["y"].tolist()))
    thread.start()
    gate.wait_begun()
    other.close()  # waits a moment for it, and then no longer
    gate.open()
    thread.join()
    assert came == [[1]]
    assert slow.infer({"x": [8.0]})["y"] == [16]
    assert slow.workers[0].restarts == 0


def test_a_call_of_one_that_hangs_takes_the_worker_with_it_and_the_others_get_a_fresh_one(worker, package):
    good, hanging = worker.load(package(2), timeout=30), worker.load(package("time.sleep(1000)"))
    with pytest.raises(InferTimeout):
        hanging.infer({"x": [1.0]}, timeout=0.2)
    assert good.infer({"x": [1.0]})["x"] == [2]
    assert good.workers[0].restarts == 1


@pytest.mark.parametrize("restart", [RestartPolicy(), RestartPolicy(backoff=0.0, ceiling=2)])
def test_a_model_that_was_to_be_loaded_is_not_blamed_for_what_another_did_to_the_worker(
    runtime, package, load_out_of_process, gate, restart
):
    exiting = load_out_of_process.package(GATED.replace("return {", "os._exit(7)\n        return {"), INPUTS, OUTPUTS)
    with runtime.worker(runtime.environment(exiting), restart=restart) as worker:
        culprit = worker.load(exiting)
        call = culprit.submit(gate.inputs)
        gate.wait_begun()
        waiting = worker.load(package(2), lazy=True)
        answers = []
        calling = threading.Thread(target=lambda: answers.append(waiting.infer({"x": [1.0]})["x"].tolist()))
        calling.start()
        while not waiting.health().progress:  # its load is on its way
            os.sched_yield()
        gate.open()
        calling.join()
        assert answers == [[2]]
        with pytest.raises(WorkerDied) as caught:
            call.result()
        assert caught.value.exit_code == 7
        assert waiting.health().ready


DYING = """
import os
folder = {folder!r}
def load(d):
    open(folder + "/loads", "a").write("x")
    calls = []
    def run(x):
        calls.append(1)
        if x.size and x.flat[0] == 7 and len(open(folder + "/loads").read()) < {loads}: os.abort()
        return {{"x": x * 2, "pid": len(calls)}}
    return run
"""


def test_a_model_of_a_shared_worker_has_options_of_its_own(worker, package, load_out_of_process, tmp_path):
    told = queue.SimpleQueue()
    code = DYING.format(folder=str(tmp_path), loads=4)  # the first is the packager's, which runs the test data
    path = load_out_of_process.package(code, ANY, PID, test_input_data={"x": [1.0]})
    other = worker.load(package(5))
    model = worker.load(path, retries=2, on_event=told.put, warm_up=True)
    assert model.infer({"x": [7.0]})["x"] == [14], "two workers died of it, and the third answered"
    assert model.infer({"x": [1.0]})["pid"] == 3, "calls of the third one, the first of them to warm it up"
    assert other.infer({"x": [1.0]})["x"] == [5]
    events = [told.get().event for _ in range(6)]
    assert events == ["start", "loaded", "restart", "loaded", "restart", "loaded"]


def test_a_call_that_kills_a_shared_worker_leaves_a_capsule_that_is_replayed(
    worker, package, load_out_of_process, tmp_path
):
    other = worker.load(package(5))
    path = load_out_of_process.package(DYING.format(folder=str(tmp_path), loads=2), ANY, PID)
    model = worker.load(path, capsule=tmp_path / "capsules")
    with pytest.raises(WorkerDied) as caught:
        model.infer({"x": [7.0]})
    assert read_capsule(caught.value.capsule).inputs["x"].tolist() == [7.0]
    assert replay_capsule(caught.value.capsule, runtime=load_out_of_process.runtime)["x"] == [14]
    assert other.infer({"x": [1.0]})["x"] == [5]


def test_a_cancelled_call_ends_a_shared_worker_where_that_was_chosen(worker, package, load_out_of_process, gate):
    gated = worker.load(load_out_of_process.package(GATED, INPUTS, OUTPUTS), cancel="kill")
    other = worker.load(package(5))
    future = gated.submit(gate.inputs)
    gate.wait_begun()
    waiting = other.submit({"x": [1.0]})
    future.cancel()
    assert waiting.result()["x"] == [5]


def test_the_load_timeout_of_a_model_holds_while_another_one_keeps_the_worker(
    worker, package, load_out_of_process, gate
):
    gated = worker.load(load_out_of_process.package(GATED, INPUTS, OUTPUTS))
    running = gated.submit(gate.inputs)
    gate.wait_begun()
    with pytest.raises(InferTimeout, match="the load of model"):
        worker.load(package(5), load_timeout=0.1)
    gate.open()
    assert running.result()["y"] == [1.0]
    assert worker.load(package(5), load_timeout=100).infer({"x": [1.0]})["x"] == [5]


@pytest.mark.parametrize(
    "option", ["visible_gpu", "wait", "threads", "affinity", "environment", "instances", "restart"]
)
def test_what_is_of_the_worker_is_no_option_of_a_model_in_it(worker, package, option):
    with pytest.raises(TypeError, match=option):
        worker.load(package(5), **{option: 1})


def test_closing_the_worker_closes_its_models_and_ends_its_process(runtime, package):
    with runtime.worker(runtime.environment(package(1))) as worker:
        model = worker.load(package(2))
        pid = model.workers[0].pid
    with pytest.raises(HandleClosed):
        model.infer({"x": [1.0]})
    with pytest.raises(HandleClosed, match="make another one"):
        worker.load(package(2))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    worker.close()
    assert "closed" in repr(worker)


def test_closing_the_runtime_closes_its_shared_workers(runtime, package):
    worker = runtime.worker(runtime.environment(package(1)))
    model = worker.load(package(2), lazy=True)
    assert model.infer({"x": [1.0]})["x"] == [2]
    runtime.close()
    with pytest.raises(HandleClosed):
        worker.load(package(2))
    with pytest.raises(HandleClosed):
        model.infer({"x": [1.0]})


def test_a_shared_worker_without_references_ends_with_its_last_model(runtime, package):
    def load():
        return runtime.worker(runtime.environment(package(1))).load(package(2))

    model = load()
    gc.collect()
    assert model.infer({"x": [1.0]})["x"] == [2]
    del model
    gc.collect()  # that nothing is left is looked at after each test


def test_each_model_finds_its_own_classes_by_name_at_every_call_although_all_are_called_the_same(
    worker, load_out_of_process
):
    code = "import importlib, pickle\nclass Own:\n    factor = {}\ndef load(d):\n    def f(x):\n"
    code += "        own = type(pickle.loads(pickle.dumps(Own())))\n        assert own is Own\n"
    code += "        return {{'x': x * importlib.import_module('model.main').Own.factor}}\n    return f\n"
    models = [worker.load(load_out_of_process.package(code.format(factor), ANY, ANY)) for factor in (2, 3, 5)]
    for _ in range(3):
        assert [model.infer({"x": [1.0]})["x"].tolist() for model in models] == [[2], [3], [5]]
    models.pop().close()
    assert [model.infer({"x": [1.0]})["x"].tolist() for model in models] == [[2], [3]]


def test_a_forked_child_leaves_the_worker_to_its_parent(worker, package):
    model = worker.load(package(2))
    child = os.fork()
    if child == 0:
        try:
            worker.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert model.infer({"x": [1.0]})["x"] == [2]
    assert model.workers[0].restarts == 0
