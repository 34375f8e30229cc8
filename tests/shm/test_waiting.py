import os
import threading

import pytest
from peers import Peer

from neuropod_worker.shm import control, waiting
from neuropod_worker.shm.doorbell import PipeDoorbell, SemaphoreDoorbell
from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.shm.quota import cpu_quota
from neuropod_worker.shm.waiting import WAITS, Patience, PolledWait, RungWait, make_wait

KINDS = [(True, kind) for kind in WAITS] + [(False, "adaptive"), (False, "block")]


class Side:
    """One direction as both processes see it."""

    def __init__(self, memory, make_mailbox, offset, polled, kind):
        self.polled, self.kind = polled, kind
        if polled:
            self.bell = SemaphoreDoorbell(memory, offset, create=True)
        else:
            self.bell = PipeDoorbell(*os.pipe())
        self.mailbox = make_mailbox(memory, polled)
        self.wait = make_wait(self.mailbox, self.bell, kind)

    def say(self, *words):
        self.mailbox.send_repeated(self.bell, *words)

    def hear(self):
        while True:
            if not self.wait.catch():
                self.wait.sleep(30)
            message = self.mailbox.take()
            if message is not None:
                return message


@pytest.fixture(params=KINDS, ids=lambda it: f"{'polled' if it[0] else 'rung'}-{it[1]}")
def sides(request, make_segment, mailbox_code):
    memory = Mapping(make_segment(control.CONTROL_SIZE), control.CONTROL_SIZE)
    control.write_header(memory)
    polled, kind = request.param
    requests = Side(memory, control.request_mailbox, control.REQUEST_BELL, polled, kind)
    replies = Side(memory, control.reply_mailbox, control.REPLY_BELL, polled, kind)
    yield requests, replies
    requests.bell.close()
    replies.bell.close()


def test_two_processes_play_ping_pong_and_no_ring_goes_astray(sides):
    requests, replies = sides

    def answer():
        for _ in range(1000):
            number = requests.hear().request
            replies.say(0, 0, number, 0, 0, 0, 0, 0, 0, 0)

    peer = Peer(answer)
    for number in range(1000):
        requests.say(0, 0, number, 0, 0, 0)
        assert replies.hear().request == number
    peer.finish()


def test_a_sleep_ends_at_its_time_and_costs_no_later_message(sides):
    requests, _ = sides
    for _ in range(12):  # through all its budgets
        assert not requests.wait.catch()
        requests.wait.sleep(0.001)
    requests.wait.sleep(-1)
    requests.say(0, 0, 7, 0, 0, 0)
    assert requests.hear().request == 7


def test_a_message_that_came_before_is_not_slept_through(sides):
    requests, _ = sides
    requests.say(0, 0, 7, 0, 0, 0)
    requests.wait.sleep(1e9)
    assert requests.mailbox.take().request == 7


def test_the_wait_follows_the_mailbox(sides):
    requests, _ = sides
    assert type(requests.wait) is (PolledWait if requests.polled else RungWait)


def patience_after(*waits):
    patience = Patience(longest_s=1e-3)
    for seconds in waits:
        patience.lasted(seconds)
    return patience


def test_a_wait_is_tried_for_longer_than_the_recent_ones_lasted():
    for seconds in (0.0, 20e-6, 140e-6, 950e-6):
        assert seconds < patience_after(*[seconds] * 20).seconds() < 2 * seconds + 100e-6


class Late:
    """A mailbox whose message arrives at a time of its own clock; a look takes 1 us."""

    def __init__(self, arrival):
        self.now, self.arrival = 100.0, 100.0 + arrival

    def poll(self, seconds):
        self.now += max(seconds, 1e-6)
        return self.now >= self.arrival


@pytest.mark.parametrize("by", ["the wait", "the caller"])
def test_a_wait_lasts_from_its_first_look_on(monkeypatch, by):
    mailbox = Late(60e-6)
    monkeypatch.setattr(waiting, "_clock", lambda: mailbox.now)
    wait = PolledWait(mailbox, None, "adaptive")
    if by == "the caller":
        mailbox.poll(wait.spin_s)
        wait.spun()
    assert wait.catch()
    assert wait._took == pytest.approx(60e-6, abs=5e-6)


def test_waits_that_last_long_sleep_at_once():
    assert patience_after(*[1 / 30] * 20).seconds() == 0.0


def test_one_long_pause_among_short_waits_changes_nothing_and_a_few_do():
    assert patience_after(*[20e-6] * 20, 60.0).seconds()
    assert not patience_after(*[20e-6] * 20, 60.0, 60.0, 60.0).seconds()


def test_a_model_that_became_fast_is_soon_tried_for_again():
    assert patience_after(*[60.0] * 100, *[20e-6] * 3).seconds()


def test_tries_that_lead_to_nothing_become_rare_until_one_succeeds():
    patience = patience_after(20e-6)
    tried = []
    for number in range(1000):
        if patience.seconds():
            tried.append(number)
            patience.failed()
    assert tried[:4] == [0, 2, 6, 14]
    assert max(b - a for a, b in zip(tried, tried[1:])) == 64
    while not patience.seconds():
        pass
    patience.succeeded()
    assert patience.seconds()


def test_the_wait_learns_how_long_its_messages_take(sides):
    requests, _ = sides
    if not requests.polled or requests.kind != "adaptive":
        pytest.skip("only this one learns")
    patience = requests.wait._patience
    before = patience.seconds()
    for number in range(10):  # each of them asleep for milliseconds
        requests.wait.catch()
        requests.wait.sleep(0.005)
        requests.say(0, 0, number, 0, 0, 0)
        requests.wait.sleep(30)
        requests.mailbox.take()
    assert before
    assert not patience.seconds()


@pytest.mark.parametrize("threads", [0, 1])
def test_tries_keep_the_gil_from_other_threads_for_a_moment_only(make_segment, monkeypatch, threads):
    now = [0.0]

    def yield_to_nobody():
        now[0] += 2e-6

    monkeypatch.setattr(waiting, "_clock", lambda: now[0])
    monkeypatch.setattr(waiting, "_sched_yield", yield_to_nobody)
    monkeypatch.setattr(waiting, "cpu_quota", lambda: None)
    memory = Mapping(make_segment(control.CONTROL_SIZE), control.CONTROL_SIZE)
    control.write_header(memory)

    def tries_in_vain():
        wait = PolledWait(control.request_mailbox(memory, True), None, "adaptive")
        for _ in range(20):
            wait._patience.lasted(900e-6)
        idle = threading.Event()
        for _ in range(threads):
            threading.Thread(target=idle.wait).start()
        assert not wait.catch()
        idle.set()
        assert (now[0] < 110e-6) if threads else (now[0] > 1.3e-3)

    Peer(tries_in_vain).finish()  # in a child, which has none of the threads of this process


def quota_in(tmp_path, membership, **files):
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path.joinpath(*name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name.replace("_dot_", ".")).write_text(text)
    return cpu_quota(str(tmp_path), str(tmp_path / "membership"))


def test_the_smallest_quota_on_the_way_up_counts(tmp_path):
    files = {
        "a__cpu_dot_max": "150000 100000\n",
        "a__b__cpu_dot_max": "max 100000\n",
        "a__b__c__cpu_dot_max": "200000 100000\n",
    }
    assert quota_in(tmp_path, "0::/a/b/c\n", **files) == 1.5


def test_quotas_of_the_older_control_groups_are_known(tmp_path):
    files = {
        "cpu,cpuacct__a__cpu_dot_cfs_quota_us": "50000\n",
        "cpu,cpuacct__a__cpu_dot_cfs_period_us": "100000\n",
        "cpu,cpuacct__cpu_dot_cfs_quota_us": "-1\n",
        "cpu,cpuacct__cpu_dot_cfs_period_us": "100000\n",
    }
    assert quota_in(tmp_path, "5:memory:/a\n4:cpu,cpuacct:/a\n", **files) == 0.5


def test_without_a_quota_there_is_none(tmp_path):
    assert quota_in(tmp_path, "0::/a\n") is None
    assert cpu_quota(str(tmp_path), str(tmp_path / "absent")) is None
