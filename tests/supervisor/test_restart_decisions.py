"""The restart decision over histories of deaths, on a clock that only the test moves."""

import itertools

import pytest

from neuropod_ope.supervisor.restart import LONGEST_BACKOFF_S, Decision, Ending, RestartPolicy, decide

RESTART, GIVE_UP = Decision("restart"), Decision("give up")


class History:
    """What a supervisor would remember, on a clock of its own."""

    def __init__(self, **policy):
        self.policy = RestartPolicy(**policy)
        self.now = 1000.0
        self.endings = []

    def ends(self, after=0.0, fruitless=True, hopeless=False):
        self.now += after
        self.endings.append(Ending(self.now, fruitless, hopeless))
        return self.asked()

    def asked(self, after=0.0):
        self.now += after
        return decide(self.policy, self.endings, self.now)


def test_a_first_death_is_followed_by_a_restart_at_once():
    assert History().ends() == RESTART
    assert History(backoff=5.0).ends(fruitless=False) == RESTART


def test_fruitless_workers_in_a_row_double_the_delay():
    history = History(backoff=0.5, ceiling=None, window=1e6)
    decisions = [history.ends(after=100.0) for _ in range(5)]
    assert decisions == [RESTART, *(("back off", delay) for delay in (0.5, 1.0, 2.0, 4.0))]


def test_the_delay_is_bounded_however_many_deaths_there_were():
    history = History(backoff=0.5, ceiling=None, window=1e6)
    for _ in range(3000):
        last = history.ends()
    assert last == ("back off", LONGEST_BACKOFF_S)


def test_a_worker_that_answered_a_call_ends_the_row():
    history = History(backoff=1.0, ceiling=None)
    history.ends(), history.ends()
    assert history.ends(fruitless=False) == RESTART
    assert history.ends() == RESTART
    assert history.ends() == ("back off", 1.0)


def test_workers_that_answer_are_replaced_for_ever():
    history = History(ceiling=3)
    assert {history.ends(after=0.01, fruitless=False) for _ in range(1000)} == {RESTART}


def test_the_ceiling_stops_and_the_window_forgets():
    history = History(backoff=0.0, ceiling=3, window=10.0)
    assert [history.ends(after=1.0) for _ in range(3)] == [RESTART, RESTART, GIVE_UP]
    assert history.asked(after=7.9) == GIVE_UP
    assert history.asked(after=0.1) == RESTART, "the first of the three is 10 s old"


@pytest.mark.parametrize("fruitless", [True, False])
def test_a_ceiling_of_0_never_restarts(fruitless):
    assert History(ceiling=0).ends(fruitless=fruitless) == GIVE_UP


def test_without_a_ceiling_it_never_stops():
    history = History(backoff=0.0, ceiling=None)
    assert {history.ends() for _ in range(1000)} == {RESTART}


def test_what_cannot_boot_or_load_stops_at_once_until_the_window_has_passed():
    history = History(window=60.0)
    assert history.ends(hopeless=True) == GIVE_UP
    assert history.asked(after=59.0) == GIVE_UP
    assert history.asked(after=1.0) == RESTART


def test_a_delay_counts_from_the_death_and_not_from_the_question():
    history = History(backoff=8.0)
    history.ends(), history.ends()
    assert history.asked(after=6.0) == ("back off", 2.0)
    assert history.asked(after=2.0) == RESTART


def test_each_history_ends_in_one_of_the_three():
    """All histories of up to four deaths: whatever happens, a decision comes, and it is a late one only after two."""
    kinds = list(itertools.product((False, True), (False, True), (0.0, 3.0)))
    for length in range(1, 5):
        for combination in itertools.product(kinds, repeat=length):
            history = History(backoff=1.0, ceiling=3, window=10.0)
            for fruitless, hopeless, after in combination:
                decision = history.ends(after, fruitless, hopeless)
            fruitless_row = list(itertools.takewhile(lambda kind: kind[0], reversed(combination)))
            assert decision.event in ("restart", "back off", "give up")
            assert (decision.delay > 0) == (decision.event == "back off")
            if decision.event == "back off":
                assert len(fruitless_row) >= 2
            if hopeless or len(fruitless_row) >= 4:
                assert decision == GIVE_UP


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"backoff": -1}, "backoff must be"),
        ({"backoff": "1"}, "backoff must be"),
        ({"ceiling": -1}, "ceiling must be"),
        ({"ceiling": 1.5}, "ceiling must be"),
        ({"window": 0}, "window must be"),
        ({"window": float("nan")}, "window must be"),
        ({"standby": None}, "standby must be"),
        ({"standby": True}, "standby must be"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        RestartPolicy(**wrong)
