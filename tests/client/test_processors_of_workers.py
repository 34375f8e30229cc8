"""Workers on their processors, with their threads, and at the same time."""

import os
import threading

import numpy as np
import pytest

pytestmark = pytest.mark.workers

NOTHING = {"x": ("float64", None)}
TELLING = """
import os
def load(data_dir):
    def run(x):
        return {"processors": sorted(os.sched_getaffinity(0)), "pid": os.getpid(),
                "threads": [os.environ.get("OMP_NUM_THREADS", ""), os.environ.get("MKL_NUM_THREADS", "")]}
    return run
"""
TOLD = {"processors": ("int64", (None,)), "threads": ("string", (2,)), "pid": ("int64", ())}


@pytest.fixture
def tell(load_out_of_process, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def load(**options):
        return load_out_of_process(TELLING, NOTHING, TOLD, **options)

    return load


def test_one_worker_is_left_alone(tell):
    told = tell().infer({"x": [1.0]})
    assert set(told["processors"]) == os.sched_getaffinity(0)
    assert told["threads"].tolist() == ["", ""]


def test_a_worker_runs_on_the_processors_that_it_was_given_and_with_so_many_threads(tell):
    last = max(os.sched_getaffinity(0))
    told = tell(affinity={last}, threads=3).infer({"x": [1.0]})
    assert told["processors"].tolist() == [last]
    assert told["threads"].tolist() == ["3", "3"]


def test_each_instance_has_processors_of_its_own_also_after_a_death(tell):
    usable = sorted(os.sched_getaffinity(0))
    first, last = usable[0], usable[-1]
    model = tell(affinity=[[first], [last]], instances=2)

    def placed():
        answers = list(model.infer_many(({"x": [1.0]} for _ in range(50)), max_in_flight=10))
        return {int(answer["pid"]): answer["processors"].tolist() for answer in answers}

    assert placed() == {worker.pid: [cpu] for worker, cpu in zip(model.workers, (first, last), strict=True)}
    os.kill(model.workers[0].pid, 9)
    model.load()
    while len(placed()) < 2:
        pass
    assert placed() == {worker.pid: [cpu] for worker, cpu in zip(model.workers, (first, last), strict=True)}


def test_several_instances_divide_the_processors_among_their_threads(tell):
    usable = len(os.sched_getaffinity(0))
    told = tell(instances=2 * usable).infer({"x": [1.0]})
    assert told["threads"].tolist() == ["1", "1"]


def test_a_shared_worker_has_its_processors_too(load_out_of_process):
    package = load_out_of_process.package(TELLING, NOTHING, TOLD)
    runtime = load_out_of_process.runtime
    last = max(os.sched_getaffinity(0))
    with runtime.worker(runtime.environment(package), affinity=[last], threads=2) as worker:
        told = worker.load(package).infer({"x": [1.0]})
    assert told["processors"].tolist() == [last] and told["threads"].tolist() == ["2", "2"]


def test_two_models_in_pure_python_compute_at_the_same_time(load_out_of_process, tmp_path):
    """Each for at least 20 ms, and until the other has begun."""
    code = """
import os, time
def load(data_dir):
    def run(own, others):
        began = time.monotonic_ns()
        open(str(own), "w").close()
        count = 0
        while time.monotonic_ns() < began + 20_000_000 or not os.path.exists(str(others)):
            count += 1
        return {"span": [began, time.monotonic_ns()]}
    return run
"""
    inputs = {"own": ("string", ()), "others": ("string", ())}
    models = [load_out_of_process(code, inputs, {"span": ("int64", (2,))}) for _ in range(2)]
    names = [str(tmp_path / "one"), str(tmp_path / "other")]
    spans = []

    def call(model, own, others):
        spans.append(model.infer({"own": own, "others": others}, timeout=300)["span"])

    threads = [
        threading.Thread(target=call, args=(models[0], *names)),
        threading.Thread(target=call, args=(models[1], *reversed(names))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.max(spans, axis=0)[0] < np.min(spans, axis=0)[1], "the last began before the first ended"
    assert (np.diff(spans) >= 20_000_000).all()
