"""Outputs are the caller's: they stay what they were, whatever becomes of the model."""

import gc
import os
import signal

import numpy as np
import pytest

pytestmark = pytest.mark.workers

ANY = {"x": ("float64", None)}
DOUBLE = "def load(data_dir):\n    return lambda x: {'x': x * 2}\n"


@pytest.mark.parametrize("size", [10, 200_000])
def test_views_of_views_outlive_calls_close_and_the_death_of_the_worker(load, size):
    model = load(DOUBLE, ANY, ANY)
    kept = []
    for number in range(5):
        out = model.infer({"x": np.full((size // 5, 5), float(number))})["x"]
        kept.append(out.T[1:3][:, ::2].reshape(-1)[::-1])
        del out
        gc.collect()
    for worker in model.workers:
        os.kill(worker.pid, signal.SIGKILL)
    model.infer({"x": np.full((size // 5, 5), 77.0)})
    model.close()
    del model
    gc.collect()
    for number, view in enumerate(kept):
        assert (view == 2 * number).all()
        view[...] = -1  # they are writable, and their own
    assert all((view == -1).all() for view in kept)


def test_outputs_of_one_call_keep_each_other_alive_and_are_given_back_together(load_out_of_process):
    code = "import numpy as np\ndef load(d):\n    return lambda x: {'x': x, 'y': x + 1, 's': np.array(['ü', 'b'])}\n"
    model = load_out_of_process(code, ANY, {**ANY, "y": ("float64", None), "s": ("string", None)})
    for number in range(50):
        outputs = model.infer({"x": np.full(50_000, float(number))})
        only = outputs.pop("y")
        assert outputs["s"].tolist() == ["ü", "b"]
        del outputs
        assert (only == number + 1).all()


def test_keeping_every_result_is_no_error(load_out_of_process):
    model = load_out_of_process(DOUBLE, ANY, ANY)
    kept = [model.infer({"x": np.full(100_000, float(number))})["x"] for number in range(200)]
    assert all((array == 2 * number).all() for number, array in enumerate(kept))


def test_beyond_the_budget_of_held_memory_outputs_are_copies(load_out_of_process, monkeypatch):
    monkeypatch.setattr("neuropod_ope.client.outputs.HELD_LIMIT", 3_000_000)
    model = load_out_of_process(DOUBLE, ANY, ANY)
    kept = [model.infer({"x": np.full(100_000, float(number))})["x"] for number in range(10)]
    assert [array.base is None for array in kept] == [False] * 3 + [True] * 7
    del kept[:3]
    assert model.infer({"x": np.zeros(100_000)})["x"].base is not None
    assert all((array == 2 * number).all() for number, array in enumerate(kept, start=3))


def test_inputs_may_be_reused_and_changed_between_calls(load):
    model = load(DOUBLE, ANY, ANY)
    sent = np.zeros(30_000)
    results = []
    for number in range(5):
        sent[:] = number
        results.append(model.infer({"x": sent})["x"])
    assert all((result == 2 * number).all() for number, result in enumerate(results))


def test_a_model_may_keep_its_inputs(load_out_of_process):
    code = "def load(d):\n    kept = []\n    def run(x):\n        kept.append(x[1:].T)\n"
    code += "        return {'x': sum(a.sum(keepdims=True).ravel()[:1] for a in kept)}\n    return run\n"
    model = load_out_of_process(code, ANY, ANY)
    total = 0.0
    for number in range(30):
        total += 9 * number
        assert model.infer({"x": np.full(10, float(number))})["x"] == [total]


def test_a_model_that_keeps_some_inputs_for_a_while_sees_them_unchanged(load_out_of_process):
    code = "import collections\ndef load(d):\n    kept = collections.deque(maxlen=3)\n    def run(x):\n"
    code += "        kept.append(x)\n        return {'x': kept[0] + 0}\n    return run\n"
    model = load_out_of_process(code, ANY, ANY)
    answers = [model.infer({"x": [float(number)]})["x"][0] for number in range(100)]
    assert answers == [0.0, 0.0, *range(98)]


def test_a_model_that_writes_into_its_inputs_changes_nobody_elses(load_out_of_process):
    code = "def load(d):\n    def run(x):\n        x += 1\n        return {'x': x}\n    return run\n"
    model = load_out_of_process(code, ANY, ANY)
    sent = np.zeros(5)
    for _ in range(3):
        assert model.infer({"x": sent})["x"].tolist() == [1] * 5
    assert sent.tolist() == [0] * 5


def test_hundreds_of_tensors_cross_at_once(load_out_of_process):
    names = [f"tensor_with_a_rather_long_name_{number}" for number in range(300)]
    specs = dict.fromkeys(names, ("float32", (10, 5)))
    model = load_out_of_process("def load(d):\n    return lambda **inputs: inputs\n", specs, specs)
    for _ in range(5):
        sent = {name: np.full((10, 5), number, np.float32) for number, name in enumerate(names)}
        came = model.infer(sent)
        assert list(came) == names
        assert all((came[name] == sent[name]).all() for name in names)
