"""An application that is stepped through, again and again: a process that forks one for every line of its input.

    PYTHON -c 'import stepping; stepping.without_native_code(); import stepping_client; stepping_client.main()'

A line is JSON: ``scenario`` and the arguments of its `Stage`, and what to do: ``{"record": path}``,
``{"kill before": step}`` or ``{"fork before each": true}``. The answer is a line with the exit
status, as `subprocess` shows it.
"""

import gc
import json
import os
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path

import numpy as np
from left_behind import descriptors
from scenarios import SCENARIOS, Stage
from stepping import Stepper, kill_before, recorder

from neuropod_ope import HandleClosed
from neuropod_ope.client import connection
from neuropod_worker.shm import channel, control

AS_IT_SHOULD = 3
HUNG_S = 30


def play(order):
    os.environ[order["mark"]] = order["value"]
    before = streams()
    stage = Stage(
        *order["packages"],
        Path(order["folder"]),
        sys.executable,
        order["cache"],
        [order["mark"]],
        **order["policy"],
    )
    act = kill_before(order.get("kill before"))
    if order.get("fork before each"):
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: it is what we are here for

        def act(step):
            fork_beside(stage, before, step)

    Stepper(act, recorder(order.get("record"))).install(control, channel, connection)
    SCENARIOS[order["scenario"]](stage)


def streams():
    """Through what a forked child could keep a worker alive, or hide its death."""
    return {number for number, target in descriptors() if target.startswith(("socket:", "pipe:"))}


def fork_beside(stage, before, step):
    """Another thread of the application forks, while this one is in the middle of a step."""
    statuses = []

    def fork():
        child = os.fork()
        if child == 0:
            signal.alarm(HUNG_S)  # whoever waits for a lock of a thread that is not there waits for ever
            os._exit(live_on(stage, before))
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    assert statuses == [AS_IT_SHOULD], (step, statuses)


def live_on(stage, before):
    """In the child: the models are the parent's, and nothing holds their workers."""
    try:
        for model in stage.models:
            try:
                model.infer({"x": np.zeros(3)})
            except HandleClosed:
                model.close()
            else:
                raise AssertionError("the child may call the parent's model")
        stage.runtime.close()
        assert streams() <= before, streams() - before
        stage.models.clear()
        gc.collect()
        return AS_IT_SHOULD
    except BaseException:  # reported by the exit status: nothing of the parent's stack may run on here
        traceback.print_exc()
        return 1


def main():
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                play(json.loads(line))
            except BaseException:  # as above
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
