"""Inputs that lie in shared memory before the call, outputs that lie there when the model returns them.

A model that changes its input in place shows whose memory it works on.
"""

import gc
import mmap
import os
import random
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from left_behind import descriptors, shared_memory
from loaders import Loader

from neuropod_ope import SharedMemoryExhausted, SpecError, WorkerDied
from neuropod_ope.client.executor import Request
from neuropod_worker.problem.dtypes import DTYPES

pytestmark = pytest.mark.workers

FLOATS = {"x": ("float32", ("n", None))}
ANY = {"x": ("float32", None)}
NUMBER = {"sum": ("float64", None)}
ADDS_IN_PLACE = (
    "def load(d):\n    def run(x):\n        x += 1\n        return {'sum': x.sum(dtype='f8')}\n    return run\n"
)
SUM = "def load(d):\n    return lambda x: {'sum': x.sum(dtype='f8')}\n"
ECHO = "def load(d):\n    return lambda x: {'x': x}\n"


def test_an_allocated_input_is_the_models_own_memory_and_reusable(load):
    model = load(ADDS_IN_PLACE, FLOATS, NUMBER)
    x = model.allocate("x", (300, 1000))
    assert (x.dtype, x.shape, x.flags.c_contiguous) == (np.float32, (300, 1000), True)
    x[...] = 0
    for count in range(1, 5):
        assert model.infer({"x": x})["sum"] == count * x.size
        assert (x == count).all()
    np.multiply(x, 2, out=x)
    assert model.infer({"x": x})["sum"] == 9 * x.size


def test_contiguous_parts_cross_without_a_copy_and_other_parts_by_one(load):
    model = load(ADDS_IN_PLACE, ANY, NUMBER)
    x = model.allocate("x", (60, 70_000))
    x[...] = 0
    model.infer({"x": x[3:5]})
    assert x.sum() == 140_000
    model.infer({"x": x[5, 10_000:60_000]})
    assert x.sum() == 190_000
    if model.workers:
        for part in (x[:, 1:], x.T, x[::2], x[:0]):
            model.infer({"x": part})
        assert x.sum() == 190_000


def test_small_allocated_inputs_are_copied_and_not_lent(load_out_of_process):
    model = load_out_of_process(ADDS_IN_PLACE, ANY, NUMBER)
    x = model.allocate("x", (1000,))
    for value in range(3):
        x[...] = value
        assert model.infer({"x": x})["sum"] == 1000 * (value + 1)
        assert (x == value).all()


def test_allocate_like_takes_the_shape_and_the_spec_the_dtype(load):
    model = load(SUM, ANY, NUMBER)
    like = model.allocate_like("x", np.ones((3, 4), np.int8))
    assert (like.shape, like.dtype) == ((3, 4), np.float32)


@pytest.mark.parametrize("dtype", sorted(DTYPES - {"string"}))
def test_arrays_of_every_dtype_can_be_allocated(load, dtype):
    model = load(ECHO, {"x": (dtype, None)}, {"x": (dtype, None)})
    for shape in ((), (0, 3), (5,), (400, 500)):
        x = model.allocate("x", shape)
        x[...] = (np.arange(x.size) % 2).reshape(shape)
        assert (model.infer({"x": x})["x"] == x).all()


def test_what_cannot_be_allocated_is_an_error_that_says_why(load):
    model = load(SUM, {"x": ("float32", (2, None)), "s": ("string", None)}, NUMBER)
    with pytest.raises(SpecError, match="no input 'y'; the model's inputs are 'x', 's'"):
        model.allocate("y", (1,))
    with pytest.raises(SpecError, match="holds text"):
        model.allocate("s", (1,))
    with pytest.raises(SpecError, match="dimension 0 should be 2"):
        model.allocate("x", (3, 1))


def test_an_allocated_input_cannot_be_written_to_while_its_call_is_in_flight(load_out_of_process, tmp_path):
    release = tmp_path / "release"
    code = f"""
import os, time
def load(d):
    def run(x):
        while not os.path.exists({str(release)!r}): time.sleep(0.001)
        return {{"sum": x.sum(dtype="f8")}}
    return run
"""
    model = load_out_of_process(code, ANY, NUMBER)
    x = model.allocate("x", (30_000,))
    x[...] = 1
    signature, arrays = model._reader.read({"x": x})
    pending = model._executors[0].submit(Request(signature, arrays, None), None)
    with pytest.raises(ValueError, match="read-only"):
        x[0] = 2
    release.touch()
    assert pending.result(None)["sum"] == 30_000
    x[0] = 2
    assert model.infer({"x": x})["sum"] == 30_001


def test_an_allocated_input_survives_its_worker_and_is_writable_again(load_out_of_process):
    code = """
import os
def load(d):
    def run(x):
        if x[0] < 0: os._exit(1)
        return {"sum": x.sum(dtype="f8")}
    return run
"""
    model = load_out_of_process(code, ANY, NUMBER)
    x = model.allocate("x", (100_000,))
    x[...] = -1
    with pytest.raises(WorkerDied):
        model.infer({"x": x})
    x[...] = 1
    assert model.infer({"x": x})["sum"] == 100_000


def test_an_array_may_be_in_many_calls_at_once_and_is_writable_when_the_last_has_ended(load_out_of_process):
    models = [load_out_of_process(SUM, ANY, NUMBER) for _ in range(2)]
    x = models[0].allocate("x", (30_000,))
    x[...] = 1

    def call(model):
        for _ in range(300):
            assert model.infer({"x": x})["sum"] == 30_000

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(call, model) for model in models * 2]:
            done.result()
    x[...] = 2
    assert models[0].infer({"x": x})["sum"] == 60_000


def test_an_allocated_array_outlives_its_model(load):
    model = load(SUM, ANY, NUMBER)
    x = model.allocate("x", (1000,))
    model.close()
    del model
    gc.collect()
    x[...] = 3
    assert x.sum() == 3000


def test_an_array_allocated_by_one_model_crosses_to_another_without_a_copy(load):
    first, second = load(SUM, ANY, NUMBER), load(ADDS_IN_PLACE, ANY, NUMBER)
    x = first.allocate("x", (50_000,))
    x[...] = 0
    assert first.infer({"x": x})["sum"] == 0
    assert second.infer({"x": x})["sum"] == 50_000
    assert first.infer({"x": x})["sum"] == 50_000


def test_in_a_chain_the_second_model_reads_the_first_ones_output_in_place(load):
    first, second = load(ECHO, ANY, ANY), load(ADDS_IN_PLACE, ANY, NUMBER)
    between = first.infer({"x": np.zeros(100_000, np.float32)})["x"]
    for count in range(1, 4):
        assert second.infer({"x": between})["sum"] == count * between.size
        assert (between == count).all()


def test_a_chained_output_outlives_the_model_that_made_it(load_out_of_process):
    first, second = load_out_of_process(ECHO, ANY, ANY), load_out_of_process(SUM, ANY, NUMBER)
    between = first.infer({"x": np.ones(100_000, np.float32)})["x"]
    first.close()
    assert second.infer({"x": between})["sum"] == 100_000


def memory_file(nbytes, kind):
    if kind == "memfd":
        fd = os.memfd_create("camera")
    else:
        folder = "/dev/shm" if kind == "/dev/shm" else None
        fd, path = tempfile.mkstemp(dir=folder)
        os.unlink(path)
    os.ftruncate(fd, nbytes)
    return os.fdopen(fd, "r+b", buffering=0)


@pytest.mark.parametrize("kind", ["memfd", "/dev/shm", "disk"])
def test_a_wrapped_file_is_read_in_place_again_and_again(load, kind):
    model = load(SUM, FLOATS, NUMBER)
    with memory_file(4096 + 3 * 120_000, kind) as file, mmap.mmap(file.fileno(), 0) as camera:
        slots = [model.wrap("x", file, (100, 300), 4096 + slot * 120_000) for slot in range(3)]
        for value in range(1, 7):
            frame = np.frombuffer(camera, np.float32, 30_000, 4096 + value % 3 * 120_000)
            frame[...] = value
            assert model.infer({"x": slots[value % 3]})["sum"] == value * 30_000
            del frame


def test_a_file_may_be_wrapped_by_path_and_closed_and_written_through_the_array(load, tmp_path):
    model = load(ADDS_IN_PLACE, FLOATS, NUMBER)
    path = tmp_path / "recording"
    np.zeros(30_000, np.float32).tofile(path)
    x = model.wrap("x", path, (3, 10_000))
    assert model.infer({"x": x})["sum"] == 30_000
    assert np.fromfile(path, np.float32)[0] == 1


def test_a_file_opened_for_reading_is_wrapped_read_only(load, tmp_path):
    model = load(SUM, FLOATS, NUMBER)
    path = tmp_path / "recording"
    np.ones(12, np.float32).tofile(path)
    with open(path, "rb") as file:
        x = model.wrap("x", file, (3, 4))
    assert not x.flags.writeable
    assert model.infer({"x": x})["sum"] == 12


def test_a_file_too_small_or_an_odd_offset_is_an_error(load, tmp_path):
    model = load(SUM, FLOATS, NUMBER)
    path = tmp_path / "recording"
    path.write_bytes(bytes(40))
    with pytest.raises(ValueError, match="needs bytes 0 to 44, but the file has 40"):
        model.wrap("x", path, (1, 11))
    with pytest.raises(ValueError, match="offset 2 is not a multiple of the 4 bytes"):
        model.wrap("x", path, (1, 1), 2)
    with pytest.raises(FileNotFoundError):
        model.wrap("x", tmp_path / "absent", (1, 1))
    with pytest.raises(SpecError, match="2 dimensions"):
        model.wrap("x", path, (1,))


def test_wrapped_files_that_are_gone_are_given_back_on_both_sides(load_out_of_process, tmp_path):
    model = load_out_of_process(SUM, FLOATS, NUMBER)
    path = tmp_path / "recording"
    np.ones(30_000, np.float32).tofile(path)
    model.infer({"x": model.wrap("x", path, (3, 10_000))})
    before = descriptors()
    for _ in range(200):  # more than a socket's buffer or a worker's descriptors would take
        assert model.infer({"x": model.wrap("x", path, (3, 10_000))})["sum"] == 30_000
    model.infer({"x": np.zeros((1, 1), np.float32)})
    assert descriptors() <= before
    pid = model.workers[0].pid
    with open(f"/proc/{pid}/maps") as maps:
        assert sum("recording" in line for line in maps) <= 1


def test_a_sealed_input_is_a_read_only_copy_that_crosses_as_it_is(load):
    model = load(SUM, FLOATS, NUMBER)
    source = np.ones((300, 300), np.float32)
    sealed = model.seal("x", source)
    source[...] = 7
    assert not sealed.flags.writeable
    for _ in range(3):
        assert model.infer({"x": sealed})["sum"] == 90_000
    with pytest.raises(ValueError, match="read-only"):
        sealed[0, 0] = 1
    with pytest.raises(SpecError, match="input 'x': dtype should be float32, but is int32"):
        model.seal("x", np.ones((2, 2), np.int32))


EMPTY_OUTPUT = """
import numpy as np
from neuropod_worker.outputs import empty_output
def load(d):
    def run(x):
        y = empty_output(x.shape, "float32")
        np.add(x, 1, out=y)
        return {"x": y}
    return run
"""


def test_a_model_can_have_its_outputs_made_where_the_caller_reads_them(load):
    model = load(EMPTY_OUTPUT, ANY, ANY)
    kept = []
    for number in range(20):
        for shape in ((), (0,), (3,), (300, 200)):
            kept.append((number, model.infer({"x": np.full(shape, number, np.float32)})["x"]))
    assert all((array == number + 1).all() for number, array in kept)


def test_placed_outputs_take_no_memory_of_their_own_and_give_it_back(load_out_of_process):
    placed, copied = load_out_of_process(EMPTY_OUTPUT, ANY, ANY), load_out_of_process(ECHO, ANY, ANY)
    x = np.zeros(2_000_000, np.float32)
    for model in (placed, copied):
        for _ in range(10):
            model.infer({"x": x})
    assert reply_memory(placed) <= 3 * x.nbytes


def reply_memory(model):
    """Bytes of /dev/shm behind the worker's reply arena."""
    connection = model._executors[0].ready(None)
    return os.fstat(connection._outputs._file.fd).st_blocks * 512


def test_outputs_are_handed_out_as_dlpack_without_a_copy(load):
    model = load(ECHO, ANY, ANY)
    out = model.infer({"x": np.zeros(100_000, np.float32)})["x"]
    other = np.from_dlpack(out)
    assert np.shares_memory(other, out)


def test_thousands_of_random_sizes_do_not_grow_the_memory(load_out_of_process):
    model = load_out_of_process(ECHO, ANY, ANY)
    sizes = random.Random(7)

    def round_of_calls():
        for _ in range(700):
            n = int(10 ** sizes.uniform(0, 5.5))
            x = model.allocate("x", (n,)) if sizes.random() < 0.3 else np.empty(n, np.float32)
            x[...] = n
            assert (model.infer({"x": x})["x"] == n).all()

    round_of_calls()
    model.free_unused_memory()
    round_of_calls()
    pid = model.workers[0].pid
    replies, both = reply_memory(model), shared_memory(pid)
    for _ in range(3):
        round_of_calls()
    assert reply_memory(model) <= max(2 * replies, 64 * 2**20)
    assert shared_memory(pid) <= max(2 * both, 128 * 2**20)


def test_unused_memory_is_given_back_on_request_and_taken_again(load_out_of_process):
    model = load_out_of_process(ECHO, ANY, ANY)
    connection = model._executors[0].ready(None)
    for _ in range(2):
        x = model.allocate("x", (3_000_000,))
        x[...] = 5
        assert (model.infer({"x": x})["x"] == 5).all()
        assert (model.infer({"x": np.full(3_000_000, 6, np.float32)})["x"] == 6).all()
        assert os.fstat(connection._request_fd).st_blocks * 512 >= x.nbytes
        memory = model._memory._file
        assert os.fstat(memory.fd).st_blocks * 512 >= x.nbytes
        del x
        gc.collect()
        model.free_unused_memory()
        model.infer({"x": np.zeros(1, np.float32)})
        assert os.fstat(memory.fd).st_blocks * 512 < 2**20
        assert os.fstat(connection._request_fd).st_blocks * 512 < 2**20
        assert reply_memory(model) < 2**20


def test_memory_can_be_freed_at_every_cycle(load):
    model = load(ECHO, ANY, ANY, free_memory_every_cycle=True)
    for _ in range(3):
        assert (model.infer({"x": np.full(3_000_000, 6, np.float32)})["x"] == 6).all()
        assert model.infer({"x": np.zeros(1, np.float32)})["x"] == 0
        if model.workers:
            assert reply_memory(model) < 2**20


def test_more_than_there_is_cannot_be_allocated(load_out_of_process):
    model = load_out_of_process(SUM, ANY, NUMBER)
    with pytest.raises(SharedMemoryExhausted, match="more bytes"):
        model.allocate("x", (2**40,))
    assert model.infer({"x": model.allocate("x", (10,))[:0]})["sum"] == 0


def test_a_budget_bounds_each_direction_and_the_model_works_on(tmp_path):
    loader = Loader(tmp_path, out_of_process=True, memory_budget=2**20)
    grows = "import numpy as np\ndef load(d):\n    return lambda x: {'x': np.tile(x, 3)}\n"
    with loader.runtime:
        model = loader(grows, ANY, ANY)
        small = np.ones(1000, np.float32)
        for too_much in (300_000, 150_000):  # as an input, as an output
            with pytest.raises(SharedMemoryExhausted, match="budget of 1048576 bytes"):
                model.infer({"x": np.ones(too_much, np.float32)})
            assert model.infer({"x": small})["x"].sum() == 3000
        with pytest.raises(SharedMemoryExhausted, match="budget of 1048576 bytes"):
            model.allocate("x", (300_000,))
        assert model.infer({"x": model.allocate_like("x", small)})["x"].shape == (3000,)


@pytest.mark.parametrize("wait", ["adaptive", "spin", "block"])
def test_calls_are_answered_however_both_sides_wait(load, wait):
    model = load(ECHO, ANY, ANY, wait=wait)
    for number in range(100):
        assert model.infer({"x": [number]})["x"] == number
