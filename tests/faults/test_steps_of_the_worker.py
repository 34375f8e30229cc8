"""A worker that is killed at every step of the protocol, in conversations that take every step between them."""

import json
import sys

import pytest
import stepping
from left_behind import held, held_at_rest, wait_none_marked
from scenarios import ONLY_IN, SCENARIOS, Stage

from neuropod_worker.wire import messages as m
from neuropod_worker.wire.conversation import MODEL

pytestmark = pytest.mark.workers


@pytest.fixture
def play(tmp_path, stepped_packages, marked, mark):
    """Plays a scenario with a worker that gets an order."""
    order = tmp_path / "order"
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nif [ "$3" = serve ]; then shift; exec {sys.executable} -I {stepping.__file__} {order} "$@"; fi\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)

    def play_it(scenario, what):
        order.write_text(json.dumps(what))
        stage = Stage(*stepped_packages, tmp_path, python, tmp_path / "cache", [mark])
        with stage.runtime:
            SCENARIOS[scenario](stage)
        assert not order.exists()

    return play_it


def recorded(play, scenario, tmp_path):
    play(scenario, {"record": str(tmp_path / "record")})
    return stepping.read_record(tmp_path / "record")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_worker_killed_at_any_step_costs_a_call_and_nothing_else(scenario, play, tmp_path, marked):
    before = held()
    steps = recorded(play, scenario, tmp_path)[0]
    for step in steps:
        if ONLY_IN.get(step.split(":")[1], scenario) == scenario:
            play(scenario, {"kill before": step})
            assert held_at_rest(before) == before, step
            wait_none_marked(
                marked
            )  # a child of the model's was killed when its worker was reaped, and ends by itself


def test_the_scenarios_take_every_step_of_a_models_life(play, tmp_path):
    taken = set()
    for scenario in SCENARIOS:
        states, asked = {}, {}
        for _, way, kind, model, request in recorded(play, scenario, tmp_path)[1]:
            if way == "received" and kind in ("Load", "Infer", "Unload"):
                asked[request] = kind
            if way == "sent" and request in asked:  # handled now, however long ago it was received
                for name in (asked[request], kind):
                    state = states.get(model, "absent")
                    taken.add((state, name))
                    states[model] = MODEL[state][getattr(m, name)]
    assert taken == {(state, kind.__name__) for state, row in MODEL.items() for kind in row}
