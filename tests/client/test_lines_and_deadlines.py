"""The parts behind calls that nobody waits for, each by itself."""

import gc
import threading
import weakref

import numpy as np
import pytest

from neuropod_ope import InferTimeout, QueueFull
from neuropod_ope.client.background import Background
from neuropod_ope.client.backlog import MOST_BYTES, MOST_TASKS, Backlog
from neuropod_ope.client.deadlines import Deadlines
from neuropod_ope.client.executor import Request
from neuropod_ope.client.future import Task
from neuropod_ope.client.line import Line
from neuropod_worker.problem.signatures import Signature


def task(deadline=None, detached=True, array=None):
    inputs = {"x": np.zeros(1) if array is None else array}
    return Task(Request(Signature(()), inputs, None), deadline, detached, None)


def test_a_line_serves_those_first_that_came_first():
    line = Line()
    assert not line.blocks(None) and line.call_first() is None
    first, second = line.join(), line.join()
    assert line.blocks(None) and line.blocks(second) and not line.blocks(first)
    assert line.call_first() is first and first.done and not second.done
    line.leave(first)
    line.leave(first)
    assert not line.blocks(second) and line.call_first() is second


def test_whoever_gives_a_place_up_holds_nobody_up():
    line = Line()
    first, second, third = line.join(), line.join(), line.join()
    line.leave(second)
    line.leave(first)
    assert line.call_first() is third


def test_a_line_that_leads_nowhere_lets_all_go():
    line = Line()
    turns = [line.join() for _ in range(3)]
    assert line.dissolve() == turns
    assert all(turn.done for turn in turns) and not line.turns


def test_a_backlog_is_bounded_in_calls():
    backlog = Backlog()
    for _ in range(MOST_TASKS):
        backlog.append(task())
    with pytest.raises(QueueFull, match=f"{MOST_TASKS} calls"):
        backlog.append(task())
    backlog.append(task(detached=False))
    backlog.put_first(task())
    assert len(backlog) == MOST_TASKS + 2


def test_a_backlog_is_bounded_in_bytes_that_it_copies():
    backlog = Backlog()
    large = np.broadcast_to(np.zeros(1), MOST_BYTES // 8 + 1)  # takes no memory unless it is copied
    with pytest.raises(QueueFull, match="0 MiB"):
        backlog.append(task(array=large))
    backlog.append(task(detached=False, array=large))
    assert backlog.first().request.inputs["x"] is large


def test_what_leaves_a_backlog_makes_room():
    backlog = Backlog()
    tasks = [task(array=np.zeros(1000)) for _ in range(10)]
    for each in tasks:
        backlog.append(each)
    assert backlog.first() is tasks[0]
    assert backlog.remove(tasks[3]) and not backlog.remove(tasks[3])
    assert backlog.clear() == [each for each in tasks if each is not tasks[3]]
    assert not backlog and backlog.first() is None


class Told:
    def __init__(self, fails=True):
        self.fails = fails
        self.tasks = []
        self.event = threading.Event()

    def overdue(self, task):
        self.tasks.append(task)
        if self.fails:
            task.fail(InferTimeout("late"))
        self.event.set()


def late(runner, deadline):
    made = task(deadline)
    made.runner = runner
    return made


def test_the_runner_of_a_task_that_is_not_done_is_told_of_its_deadline():
    now, told = [100.0], Told()
    deadlines = Deadlines(clock=lambda: now[0])
    try:
        tasks = [late(told, deadline) for deadline in (103.0, 101.0, 102.0)]
        for each in tasks:
            deadlines.add(each.deadline, each)
        assert deadlines.tell() == 1.0 and told.tasks == []
        tasks[2].succeed({})
        now[0] = 102.5
        assert deadlines.tell() == 0.5 and told.tasks == [tasks[1]]
        now[0] = 103.0
        assert deadlines.tell() is None and told.tasks == [tasks[1], tasks[0]]
    finally:
        deadlines.end()
        deadlines.join()


def test_a_runner_that_does_nothing_about_a_deadline_is_told_again():
    now, told = [100.0], Told(fails=False)
    deadlines = Deadlines(clock=lambda: now[0])
    try:
        each = late(told, 100.0)
        deadlines.add(100.0, each)
        for count in (1, 2, 3):
            seconds = deadlines.tell()
            assert len(told.tasks) == count
            now[0] += seconds
        each.succeed({})
        assert deadlines.tell() is None and len(told.tasks) == 3
    finally:
        deadlines.end()
        deadlines.join()


def test_a_deadline_that_passes_is_told_by_a_thread():
    told = Told()
    deadlines = Deadlines()
    waited_for = late(told, 0.0)
    deadlines.add(0.0, waited_for)
    assert told.event.wait(30)
    deadlines.end()
    deadlines.join()


def test_calls_that_are_done_do_not_stay_for_their_deadline():
    deadlines = Deadlines(clock=lambda: 0.0)
    for _ in range(50_000):
        each = task(1000.0)
        deadlines.add(1000.0, each)
        each.succeed({})
    deadlines.end()
    deadlines.join()
    assert len(deadlines) < 5_000


def test_outputs_are_not_kept_until_a_deadline_that_is_far_away():
    deadlines = Deadlines(clock=lambda: 0.0)
    each, outputs = task(1000.0), {"y": np.zeros(3)}
    gone = weakref.ref(outputs["y"])
    deadlines.add(1000.0, each)
    each.succeed(outputs)
    del each, outputs
    gc.collect()
    assert gone() is None
    deadlines.end()
    deadlines.join()


def test_a_background_works_after_each_wake_and_once_more_at_its_end():
    worked, seen = threading.Semaphore(0), []

    def work():
        seen.append(threading.current_thread().name)
        worked.release()

    background = Background("test-background", work)
    background.join()
    assert seen == []
    for _ in range(3):
        background.wake()
        assert worked.acquire(timeout=30)
    background.end()
    background.join()
    assert seen == ["test-background"] * 4


def test_a_background_survives_what_its_work_raises(caplog):
    worked = threading.Semaphore(0)

    def work():
        worked.release()
        if not caplog.records:
            raise KeyboardInterrupt

    background = Background("test-background", work)
    background.wake()
    assert worked.acquire(timeout=30) and worked.acquire(timeout=30)
    background.end()
    background.join()
    assert "a callback of a future failed" in caplog.text
