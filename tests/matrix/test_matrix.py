"""Framework versions from the oldest to the newest, each in its own environment and Python."""

import concurrent.futures
import sys

import numpy as np
import pytest
from environments_for_tests import interpreter, locked_environment, python_of, run_tests_in
from matrix.locked import NAMES, SUITES, framework, loaded, version_of

from neuropod_ope import Runtime

pytestmark = pytest.mark.frameworks

WEIGHT, BIAS = np.float32([[1, 2], [3, 4], [5, 6]]), np.float32([0.5, -0.5])
# One for each Python; no two of them can be in one process.
EIGHT = (
    "torch-1.1.0-py36",
    "keras-2.2.4-tf1.13.1-py37",
    "tf-2.2.0-py38",
    "torch-1.10.2-py39",
    "tf-2.11.0-py310",
    "torch-2.13.0-py311",
    "keras-3.15.1-jax-py312",
    "tf-2.21.0-py313",
)
CALLS = 200


@pytest.fixture
def runtime():
    with Runtime() as runtime:
        yield runtime


def batch(rows, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, 3)).astype(np.float32)


def assert_right(model, x):
    np.testing.assert_allclose(model.infer({"x": x})["y"], x @ WEIGHT + BIAS, rtol=1e-5, atol=1e-5)


def test_the_locks_cover_every_python_from_the_floor_on():
    assert {python_of(name) for name in NAMES} == {f"3.{minor}" for minor in range(6, 14)}
    assert [python_of(name) for name in EIGHT] == [f"3.{minor}" for minor in range(6, 14)]


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_packaged_there_and_answers_out_of_process(name, runtime, tmp_path):
    interpreter(python_of(name))
    model = loaded(runtime, name, tmp_path)
    for rows in (1, 7, 50_000):
        assert_right(model, batch(rows))
    (worker,) = model.workers
    assert worker.python_version.startswith(python_of(name) + ".")
    if framework(name) in SUITES:
        assert worker.platform_version.partition("+")[0] == version_of(name, "torch", "tensorflow", "tensorflow-cpu")
    assert not {"torch", "tensorflow", "keras", "jax"} & set(sys.modules)


@pytest.mark.parametrize("name", [name for name in NAMES if framework(name) in SUITES])
def test_the_suite_of_its_framework_passes_under(name):
    run_tests_in(locked_environment(name), SUITES[framework(name)])


def test_eight_conflicting_environments_answer_in_one_application_at_the_same_time(runtime, tmp_path):
    for name in EIGHT:
        interpreter(python_of(name))
        (tmp_path / name).mkdir()
    models = [loaded(runtime, name, tmp_path / name) for name in EIGHT]
    workers = [worker for model in models for worker in model.workers]
    assert len({worker.pid for worker in workers}) == len({worker.python_version[:4] for worker in workers}) == 8
    for number in range(CALLS):
        assert_right(models[number % len(models)], batch(1 + number, number))
    with concurrent.futures.ThreadPoolExecutor(len(models)) as pool:
        at_once = [
            pool.submit(assert_right, models[number % 8], batch(1 + number, number)) for number in range(CALLS)
        ]
        for future in at_once:
            future.result()
    assert [worker.pid for model in models for worker in model.workers] == [worker.pid for worker in workers]
