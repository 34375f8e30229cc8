"""What a handle, its workers and its events say of how long the start took."""

import functools
import logging
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from loaders import WAYS
from sample_packages import DOUBLING, FLOATS_IN, FLOATS_OUT, python_neuropod, write_files

from neuropod_ope import Runtime
from neuropod_ope.environment import Environment
from neuropod_worker.package.writer import write_package

pytestmark = pytest.mark.workers

FRAMEWORK = """
from neuropod_worker.backends import Backend

class Doubling(Backend):
    version = "7.1"
    def infer(self, inputs, requested):
        return {"y": inputs["x"] * 2}

def load(package, options):
    return Doubling()
"""
ENTRY = "[neuropod_ope.backends]\nslow = slow_framework:load\n"
DOUBLES = (DOUBLING, {"x": ("float32", (None,))}, {"y": ("float32", (None,))})
METADATA = "Metadata-Version: 2.1\nName: slow-framework\nVersion: 1.0\n"


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request):
    return dict(request.param)


def started(model, gate):
    """The startup of a model whose load comes to the gate, and for how long it was held up there."""
    assert model.startup is None
    begin = time.monotonic()
    thread = threading.Thread(target=model.load)
    thread.start()
    gate.wait_begun()
    begun = time.monotonic()
    while time.monotonic() - begun <= begun - begin:  # no part but the one that is held up is as long
        time.sleep(0.001)
    held = time.monotonic() - begun
    gate.open()
    thread.join()
    assert model.infer({"x": [1]})["y"] == [2]
    assert sum(model.startup) <= time.monotonic() - begin
    return model.startup, held


def test_what_a_python_model_imports_counts_as_its_load(way, tmp_path, gate):
    path = python_neuropod(tmp_path, {"main.py": gate.code + DOUBLING})
    out_of_process = way.pop("out_of_process")
    with Runtime(**way) as runtime:
        model = runtime.load(path, out_of_process=out_of_process, lazy=True)
        startup, held = started(model, gate)
        assert startup.package >= held
        assert (startup.boot > 0) == out_of_process
        assert startup.warm_up == 0


def test_the_first_run_is_told_apart(way, tmp_path, gate):
    code = "def load(data):\n    def run(x):\n" + textwrap.indent(gate.code, " " * 8)
    code += "        return {'y': x * 2}\n    return run\n"
    gate.open()
    path = python_neuropod(tmp_path, {"main.py": code}, test_input_data={"x": np.float32([1])})  # which is run, too
    gate.shut()
    out_of_process = way.pop("out_of_process")
    with Runtime(**way) as runtime:
        startup, held = started(runtime.load(path, out_of_process=out_of_process, lazy=True, warm_up=True), gate)
        assert startup.warm_up >= held


@pytest.mark.parametrize("out_of_process", [False, True])
def test_importing_a_framework_is_told_apart_from_loading_the_model(out_of_process, tmp_path, gate, monkeypatch):
    path = str(tmp_path / "packaged")
    write_package(path, "sample", "slow", lambda folder: None, FLOATS_IN, FLOATS_OUT)
    info = "slow_framework-1.0.dist-info"
    files = {f"{info}/METADATA": METADATA, f"{info}/entry_points.txt": ENTRY}
    site = write_files(tmp_path / "site", {**files, "slow_framework.py": gate.code + FRAMEWORK})
    with Runtime() as runtime:
        if out_of_process:
            where = runtime.worker(Environment(Path(sys.executable), (site,), ""))
            model = where.load(path, lazy=True)
        else:
            monkeypatch.syspath_prepend(site)
            model = runtime.load(path, out_of_process=False, lazy=True)
        startup, held = started(model, gate)
        assert startup.framework >= held
    sys.modules.pop("slow_framework", None)


def test_the_environment_counts_for_the_model_and_each_worker_has_a_startup_of_its_own(load_out_of_process):
    model = load_out_of_process(*DOUBLES, instances=2)
    slowest = max((worker.startup for worker in model.workers), key=sum)
    assert slowest.environment == 0
    assert model.startup.environment > 0
    assert model.startup == slowest._replace(environment=model.startup.environment)


def test_events_and_their_records_tell_it(load_out_of_process, caplog):
    told = []
    caplog.set_level(logging.INFO, "neuropod_ope.supervisor")
    model = load_out_of_process(*DOUBLES, on_event=told.append)
    model.close()
    (loaded,) = [event for event in told if event.event == "loaded"]
    assert loaded.startup.boot > 0
    assert "started in boot " in caplog.text


MEETING = """
import os, time
open({own!r}, "w").close()
until = time.monotonic() + 60  # a load that waits for the other one to end fails here
while not os.path.exists({other!r}):
    assert time.monotonic() < until, "nobody else is importing"
    time.sleep(0.001)
"""


def test_models_that_several_threads_load_are_imported_at_the_same_time(load_in_workers, tmp_path):
    places = [str(tmp_path / "first here"), str(tmp_path / "second here")]
    codes = [MEETING.format(own=own, other=other) + DOUBLING for own, other in (places, places[::-1])]
    paths = [load_in_workers.package(code, *DOUBLES[1:]) for code in codes]
    load = functools.partial(load_in_workers.runtime.load, out_of_process=True)
    with ThreadPoolExecutor(len(paths)) as threads:
        models = list(threads.map(load, paths))
    assert [model.infer({"x": [1]})["y"].tolist() for model in models] == [[2], [2]]


def test_a_worker_waits_for_no_module_that_only_few_of_them_need(load_out_of_process):
    returned = "lambda: {'modules': np.array(sorted(sys.modules))}"
    code = f"import sys\nimport numpy as np\ndef load(data): return {returned}"
    modules = load_out_of_process(code, {}, {"modules": ("string", (None,))}).infer({})["modules"]
    assert {"numpy", "msgpack"} < set(modules)
    assert not {"configparser", "email", "hashlib", "random", "tempfile", "zipfile", "subprocess"} & set(modules)
