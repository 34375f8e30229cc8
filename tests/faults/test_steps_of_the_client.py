"""An application that is killed, and one that forks, at every step of the protocol."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import stepping
from left_behind import named_segments, wait_none_marked
from scenarios import ONLY_IN, SCENARIOS

from neuropod_worker.wire import messages as m
from neuropod_worker.wire.conversation import CONNECTION, REQUEST

pytestmark = pytest.mark.workers

PROGRAM = "import stepping; stepping.without_native_code(); import stepping_client; stepping_client.main()"


@pytest.fixture(scope="module")
def client():
    """Has one client after another play an order; gives its exit status and what it said."""
    root = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root.parent)))},
    )

    def play(order):
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    yield play
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()


@pytest.fixture
def order(tmp_path, stepped_packages, mark, unique):
    return {
        "packages": stepped_packages,
        "folder": str(tmp_path),
        "cache": str(tmp_path / "cache"),
        "mark": mark,
        "value": unique,
        "policy": {},
    }


def recorded(client, order, scenario, tmp_path):
    assert client({**order, "scenario": scenario, "record": str(tmp_path / "record")}) == 0
    return stepping.read_record(tmp_path / "record")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_application_killed_at_any_step_leaves_nothing(scenario, client, order, tmp_path):
    segments = named_segments()
    for step in recorded(client, order, scenario, tmp_path)[0]:
        if ONLY_IN.get(step.split(":")[1], scenario) == scenario:
            assert client({**order, "scenario": scenario, "kill before": step}) in (-9, 0), step
            wait_none_marked(order["value"])
            assert named_segments() == segments, step


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_application_may_fork_at_any_step(scenario, client, order):
    assert client({**order, "scenario": scenario, "fork before each": True}) == 0
    wait_none_marked(order["value"])


def test_the_scenarios_take_every_step_of_a_connection_and_of_a_request(client, order, tmp_path):
    of_connections, of_requests = set(), set()
    for scenario in SCENARIOS:
        connection, requests = "started", {}
        for _, _, kind, _, request in recorded(client, order, scenario, tmp_path)[1]:
            of_connections.add((connection, kind))
            connection = CONNECTION[connection][getattr(m, kind)]
            if request != 0:
                state = requests.get(request, "new")
                of_requests.add((state, kind))
                requests[request] = REQUEST[state][getattr(m, kind)]
    assert of_connections == entries(CONNECTION)
    assert of_requests == entries(REQUEST)


def entries(table):
    return {(state, kind.__name__) for state, row in table.items() for kind in row}
