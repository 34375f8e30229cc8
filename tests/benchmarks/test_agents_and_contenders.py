import os
import tempfile
from pathlib import Path
from select import select
from subprocess import PIPE, Popen

import numpy as np
import pytest

from benchmarks.adversities import adversity
from benchmarks.agents import ROOT, Agents, Failed
from benchmarks.cases import CASES
from benchmarks.contenders import BARE, CONTENDERS
from benchmarks.contenders.messages import Adder, Sender
from benchmarks.environments import environment_with
from benchmarks.figures import Figure, Missing, NotPossible
from benchmarks.placement import ONE_CORE, descendants, placed
from benchmarks.suites.rounds import Row, contender_rows, interleaved
from neuropod_worker.shm.quota import cpu_quota

SMALL_CASES = ("1 KB", "100 × 10×5")
OURS_AND_THE_STANDARD_LIBRARY = [name for name, one in CONTENDERS.items() if not one.packages]
PEERS = [name for name, one in CONTENDERS.items() if one.packages]
FILES_PREFIX = "neuropod-benchmark-iox2-"
UNITS = {"p50": "µs", "p99": "µs"}


@pytest.fixture(scope="module")
def agents():
    with Agents() as running:
        yield running


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_tensors_lie_one_behind_the_other_and_aligned(case):
    buffer = np.zeros(case.nbytes + 64, np.uint8)
    first = buffer.ctypes.data
    views = case.views(buffer, 64)
    starts = [view.ctypes.data - first for view in views]
    assert all(view.shape == case.shape and view.dtype == case.dtype for view in views)
    assert starts == sorted(set(starts))
    assert all(start % 4 == 0 for start in starts)
    assert starts[-1] + case.tensor_bytes <= buffer.nbytes


@pytest.mark.parametrize("case", SMALL_CASES)
def test_messages_carry_what_the_arrays_hold_when_they_are_made(case):
    sender, adder = Sender(CASES[case]), Adder(CASES[case])
    for value in (1, 2):
        for x in sender.inputs:
            x[...] = value
        answers = sender.answers(adder.answer(sender.message()))
        assert all((y == value).all() for y in answers)
        assert len(answers) == CASES[case].count


def test_the_reference_is_a_contender():
    assert BARE in CONTENDERS


@pytest.mark.workers
@pytest.mark.parametrize("case", SMALL_CASES)
@pytest.mark.parametrize("contender", OURS_AND_THE_STANDARD_LIBRARY)
def test_every_contender_computes_the_same(agents, contender, case):
    _measure(agents, contender, case)


@pytest.mark.frameworks
@pytest.mark.parametrize("case", SMALL_CASES)
@pytest.mark.parametrize("contender", PEERS)
def test_every_peer_computes_the_same(agents, contender, case):
    try:
        _measure(agents, contender, case)
    except NotPossible as reason:
        pytest.skip(str(reason))


@pytest.mark.frameworks
@pytest.mark.parametrize("contender", ["iceoryx2, spinning", "iceoryx2, events"])
def test_iceoryx_leaves_no_files(agents, contender):
    before = _iceoryx_files()  # of other runs, which may have been killed
    try:
        _measure(agents, contender, "1 KB")
    except NotPossible as reason:
        pytest.skip(str(reason))
    assert _iceoryx_files() <= before


OPENS_AN_EXCHANGE = """
import sys
from benchmarks.cases import CASES
from benchmarks.contenders import CONTENDERS
with CONTENDERS[sys.argv[1]].open(CASES["1 KB"]) as exchange:
    exchange.call()
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.mark.frameworks
@pytest.mark.parametrize("contender", ["iceoryx2, spinning", "iceoryx2, events"])
def test_iceoryx_leaves_nothing_when_its_client_is_killed(contender):
    before = _iceoryx_files()
    try:
        python = environment_with(CONTENDERS[contender].packages)
    except NotPossible as reason:
        pytest.skip(str(reason))
    command = [python, "-c", OPENS_AN_EXCHANGE, contender]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "workers")])}
    with Popen(command, stdin=PIPE, stdout=PIPE, cwd=ROOT, env=environment) as client:
        assert client.stdout.readline() == b"open\n"
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(client.pid)}
        (server,) = [pid for pid, command in commands.items() if b"spawn_main" in command]
        ended = os.pidfd_open(server)
        client.kill()
    assert select([ended], [], [], 30)[0]
    os.close(ended)
    assert _iceoryx_files() <= before


def _iceoryx_files():
    folders = ("/dev/shm", tempfile.gettempdir())
    return {name for folder in folders for name in os.listdir(folder) if name.startswith(FILES_PREFIX)}


def _measure(agents, contender, case):
    (row,) = contender_rows([contender], "round_trips:latencies", case=case, longest_s=0.0, placement="unpinned")
    assert set(agents.run(row.packages, row.function, **row.arguments)) == {"p50", "p99"}


@pytest.mark.workers
def test_a_failed_measurement_is_a_row_that_says_why_and_the_others_go_on(agents):
    good = contender_rows([BARE], "round_trips:latencies", case="1 KB", longest_s=0.0, placement="unpinned")
    arguments = {"contender": BARE, "case": "no such", "longest_s": 0, "placement": "unpinned"}
    bad = Row("bad", (), "round_trips:latencies", arguments)
    entries = list(interleaved(agents, ("latency", "unpinned", "1 KB"), [bad, *good], 2, UNITS, {"ratio": (BARE,)}))
    assert entries[0] == Missing("latency", "unpinned", "bad", "1 KB", "failed: KeyError: 'no such'")
    assert {(one.row, one.quantity) for one in entries[1:]} == {(BARE, "p50"), (BARE, "p99"), (BARE, "ratio")}
    assert Figure("latency", "unpinned", BARE, "1 KB", "ratio", 1.0, "") in entries


def test_a_failure_of_a_measurement_carries_its_traceback(agents):
    with pytest.raises(Failed, match="ModuleNotFoundError"):
        agents.run((), "no_such_module:f")


@pytest.mark.workers
def test_workers_run_on_the_core_that_they_were_placed_on():
    before = os.sched_getaffinity(0)
    with placed(ONE_CORE) as place_workers, CONTENDERS["multiprocessing Pipe"].open(CASES["1 KB"]):
        place_workers()
        children = descendants(os.getpid())
        assert children
        assert {frozenset(os.sched_getaffinity(pid)) for pid in children} == {frozenset({min(before)})}
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


@pytest.mark.workers
def test_half_a_cpu_is_a_quota_of_half_a_cpu_and_is_given_back_also_where_processes_remain():
    before = cpu_quota()
    try:
        with adversity("half a CPU"):
            assert cpu_quota() == 0.5
            with CONTENDERS["multiprocessing Pipe"].open(CASES["1 KB"]):  # its resource tracker stays
                pass
    except NotPossible as reason:
        pytest.skip(str(reason))
    assert cpu_quota() == before
