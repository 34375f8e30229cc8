"""Who may use which processors, and how many threads: a table."""

import os
import threading

import pytest

from neuropod_ope.supervisor.environ import worker_environ
from neuropod_ope.supervisor.processors import THREAD_VARIABLES, Share, Usable, bound_to, shares

EIGHT = Usable(frozenset(range(8)), None)


@pytest.mark.parametrize(
    ("affinity", "threads", "instances", "ours", "threads_of_each"),
    [
        (None, None, 1, EIGHT, [None]),  # left alone
        (None, 3, 1, EIGHT, [3]),
        (None, None, 2, EIGHT, [4, 4]),
        (None, None, 3, EIGHT, [2, 2, 2]),
        (None, None, 20, EIGHT, [1] * 20),
        (None, 5, 2, EIGHT, [5, 5]),
        (None, None, 2, Usable(frozenset(range(8)), 3.5), [1, 1]),  # a container's quota
        (None, None, 2, Usable(frozenset(range(8)), 0.5), [1, 1]),
        ({0, 1, 2, 3}, None, 2, EIGHT, [2, 2]),
        ({0, 1}, None, 1, EIGHT, [None]),
        ([{0, 1, 2}, {3}], None, 2, EIGHT, [3, 1]),
        ([[0, 1], [0, 1]], None, 2, EIGHT, [1, 1]),
        ([range(4), range(4, 8)], 2, 2, EIGHT, [2, 2]),
    ],
)
def test_instances_have_together_as_many_threads_as_one_would(affinity, threads, instances, ours, threads_of_each):
    assert [share.threads for share in shares(affinity, threads, instances, ours, {})] == threads_of_each


def test_a_number_of_threads_that_the_application_has_set_stays():
    for name in THREAD_VARIABLES:
        assert shares(None, None, 4, EIGHT, {name: "7"}) == [Share()] * 4
    assert shares(None, 2, 2, EIGHT, {"OMP_NUM_THREADS": "7"}) == [Share(None, 2)] * 2


def test_processors_are_for_all_or_a_set_for_each():
    assert [share.affinity for share in shares([1, 2], None, 2, EIGHT, {})] == [{1, 2}] * 2
    assert [share.affinity for share in shares([[1], {2}], None, 2, EIGHT, {})] == [{1}, {2}]
    assert shares([[3]], None, 1, EIGHT, {}) == [Share(frozenset({3}), None)]


@pytest.mark.parametrize(
    ("affinity", "says"),
    [
        ([], "must name some"),
        ([8], r"names the processors \[8\].*may use: \[0, 1"),
        (["0"], "names the processors"),
        ([[0], [1], [2]], "3 sets of processors for 2 instances"),
        ([[0], []], "must name some"),
        ([[0], 1], "must name some"),
    ],
)
def test_processors_that_there_are_not_are_refused(affinity, says):
    with pytest.raises(ValueError, match=says):
        shares(affinity, None, 2, EIGHT, {})


@pytest.mark.parametrize("affinity", ["01", 1, 1.5])
def test_what_is_no_set_of_processors_is_refused(affinity):
    with pytest.raises(TypeError, match="affinity must be numbers of processors"):
        shares(affinity, None, 1, EIGHT, {})


def test_libraries_are_told_their_number_of_threads():
    given = worker_environ({"OMP_NUM_THREADS": "9", "PATH": "/bin"}, (), None, threads=2).variables
    assert {given[name] for name in THREAD_VARIABLES} == {"2"}
    assert worker_environ({"OMP_NUM_THREADS": "9"}, (), None).variables["OMP_NUM_THREADS"] == "9"


def test_only_what_this_thread_starts_is_bound():
    ours = os.sched_getaffinity(0)
    one = frozenset({min(ours)})
    others = []
    inside, outside = threading.Event(), threading.Event()

    def look():
        inside.wait()
        others.append(os.sched_getaffinity(0))
        outside.set()

    thread = threading.Thread(target=look)
    thread.start()
    with bound_to(one):
        assert os.sched_getaffinity(0) == one
        inside.set()
        outside.wait()
    thread.join()
    assert others == [ours] and os.sched_getaffinity(0) == ours
    with bound_to(None):
        assert os.sched_getaffinity(0) == ours
