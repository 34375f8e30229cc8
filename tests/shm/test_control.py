import os
import struct

import numpy as np
import pytest
from peers import Peer

from neuropod_worker.shm import control
from neuropod_worker.shm.control import CONTROL_SIZE, INLINE_LIMIT, SLOTS, Elsewhere
from neuropod_worker.shm.mapping import Mapping
from neuropod_worker.wire import messages as m
from neuropod_worker.wire.codec import ProtocolViolation

pytestmark = pytest.mark.usefixtures("mailbox_code")


class Bell:
    def __init__(self):
        self.rings = 0

    def ring(self):
        self.rings += 1


@pytest.fixture
def bell():
    return Bell()


@pytest.fixture
def memory(make_segment):
    mapping = Mapping(make_segment(CONTROL_SIZE), CONTROL_SIZE)
    control.write_header(mapping)
    return mapping


@pytest.fixture(params=[control.request_mailbox, control.reply_mailbox])
def both_halves(request, memory):
    return request.param(memory, True), request.param(memory, True)


def test_a_header_of_this_version_is_accepted_and_any_other_is_not(memory):
    control.check_header(memory)
    memory.buffer(8, 4)[:] = struct.pack("<I", 99)
    with pytest.raises(ProtocolViolation, match="99"):
        control.check_header(memory)


def test_messages_arrive_in_order_many_times_around_the_ring(both_halves):
    writer, reader = both_halves
    for number in range(10 * SLOTS):
        writer.put(b"%d" % number)
        if number % 3 == 2:
            assert [reader.take() for _ in range(3)] == [b"%d" % n for n in range(number - 2, number + 1)]
    assert writer.written == 10 * SLOTS


def test_an_empty_mailbox_gives_nothing(both_halves):
    writer, reader = both_halves
    assert reader.take() is None
    writer.put(b"x" * INLINE_LIMIT)
    assert reader.take() == b"x" * INLINE_LIMIT
    assert reader.take() is None


def test_a_full_mailbox_refuses_more_until_something_is_taken(both_halves):
    writer, reader = both_halves
    for _ in range(SLOTS):
        assert not writer.full
        writer.put(b"")
    assert writer.full
    with pytest.raises(ProtocolViolation, match="has not taken"):
        writer.put(b"")
    assert reader.take() == b""
    assert not writer.full


def test_a_message_that_lies_elsewhere_says_where(both_halves):
    writer, reader = both_halves
    writer.put_elsewhere(Elsewhere(3, 64, 100_000))
    assert reader.take() == Elsewhere(3, 64, 100_000)


def test_a_repeated_infer_crosses_as_words_and_comes_out_as_the_message(memory, bell):
    writer, reader = control.request_mailbox(memory, True), control.request_mailbox(memory, True)
    for released, ids in ((0, ()), (2**64 - 1, (2**64 - 1,))):
        writer.send_repeated(bell, 1, 2, 3, 4, released, 5)
        assert reader.take() == m.Infer(1, 2, 3, 4, ids, (), 5, None, None)


def test_a_repeated_result_crosses_as_words_and_comes_out_as_the_message(memory, bell):
    writer, reader = control.reply_mailbox(memory, True), control.reply_mailbox(memory, True)
    writer.send_repeated(bell, 1, 2, 3, 4, 9, 5, 10, 11, 12, 13)
    assert reader.take() == m.Result(1, 2, 3, 4, (9,), (), 10, 11, 12, 13, 5, None)


def test_repeated_messages_are_refused_by_a_full_mailbox_too(memory, bell):
    writer = control.request_mailbox(memory, True)
    for _ in range(SLOTS):
        writer.send_repeated(bell, *range(6))
    with pytest.raises(ProtocolViolation, match="has not taken"):
        writer.send_repeated(bell, *range(6))


def test_a_message_that_has_arrived_keeps_its_reader_awake(both_halves):
    writer, reader = both_halves
    assert not reader.arrived
    assert reader.fall_asleep()
    writer.put(b"first")
    assert reader.arrived
    assert not reader.fall_asleep()


def put(writer, bell):
    writer.put(b"")
    writer.wake(bell)


def send_an_infer(writer, bell):
    writer.send_repeated(bell, *range(6))


@pytest.mark.parametrize("send", [put, send_an_infer])
def test_only_a_reader_that_sleeps_is_rung_and_once(memory, bell, send):
    writer, reader = control.request_mailbox(memory, True), control.request_mailbox(memory, True)
    send(writer, bell)
    assert bell.rings == 0
    reader.take()
    assert reader.fall_asleep()
    for _ in range(2):
        send(writer, bell)
    assert bell.rings == 1


@pytest.mark.parametrize("send", [put, send_an_infer])
def test_a_reader_that_does_not_look_by_itself_is_always_rung(memory, bell, send):
    writer = control.request_mailbox(memory, False)
    for _ in range(2):
        send(writer, bell)
    assert bell.rings == 2


def test_a_reader_polls_until_a_message_has_arrived_or_for_its_time(both_halves):
    writer, reader = both_halves
    for seconds in (0.0, -1.0, 1e-3):
        assert not reader.poll(seconds)
    writer.put(b"first")
    for seconds in (-1.0, 0.0, 1e9):
        assert reader.poll(seconds)
    assert reader.take() == b"first"
    assert not reader.poll(0.0)


def test_a_repeated_message_may_be_looked_at_before_it_is_taken(memory, bell):
    writer, reader = control.request_mailbox(memory, True), control.request_mailbox(memory, True)
    assert reader.repeated() is None
    writer.send_repeated(bell, 1, 2, 3, 4, 5, 2**64 - 1)
    writer.put(b"another")
    for _ in range(2):
        assert reader.repeated() == (1, 2, 3, 4, 5, 2**64 - 1)
    assert writer.untaken == 2
    reader.taken()
    assert writer.untaken == 1
    assert reader.repeated() is None
    assert reader.take() == b"another"


@pytest.mark.parametrize(
    "words", [(), range(5), range(7), (0, 0, 0, 0, 0, -1), (0, 0, 0, 0, 0, 2**64), (0, 0, 0, 0, 0, "1")]
)
def test_words_that_are_none_are_refused_and_nothing_is_sent(memory, bell, words):
    writer, reader = control.request_mailbox(memory, True), control.request_mailbox(memory, True)
    with pytest.raises((TypeError, OverflowError, struct.error)):
        writer.send_repeated(bell, *words)
    assert writer.written == 0
    assert reader.take() is None


WORDS = (1, 2, 3, 4, 0, 5)  # an Infer in frame 5
ANSWER = (1, 2, 3, 4, 5, 6, 0, 0, 0, 0)  # its Result in frame 6, which releases frame 5


@pytest.fixture
def exchange(memory, bell):
    """Exchanges one array for what the peer has answered already."""
    requests, replies = control.request_mailbox(memory, True), control.reply_mailbox(memory, True)
    place = np.zeros(3)

    def exchange(array=np.ones(3), answer=None, seconds=0.0, replies=replies):  # noqa: B008 - never written to
        if answer is not None:
            control.reply_mailbox(memory, True).send_repeated(bell, *answer)
        got = requests.exchange({"x": array}, (("x", place, place.nbytes),), bell, replies, seconds, *WORDS)
        return got, place.sum(), control.request_mailbox(memory, True).take(), replies.take()

    return exchange


SENT = m.Infer(1, 2, 3, 4, (), (), 5, None, None)


def test_an_exchange_places_sends_and_finds_its_reply(exchange):
    got, placed, sent, reply = exchange(answer=ANSWER)
    assert (got, placed, sent) == (6, 3.0, SENT)
    assert (type(reply), reply.frame) == (m.Result, 6)


def test_an_exchange_whose_arrays_do_not_fit_sends_nothing(exchange):
    assert exchange(array=np.ones(4)) == (None, 0.0, None, None)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-4])
def test_an_exchange_that_is_not_answered_in_time_has_sent_its_request(exchange, seconds):
    assert exchange(seconds=seconds) == (0, 3.0, SENT, None)


@pytest.mark.parametrize("at", range(5))
def test_an_exchange_leaves_a_reply_that_is_not_just_its_own_to_others(exchange, at):
    other = list(ANSWER)
    other[at] = 77
    got, _, sent, reply = exchange(answer=other)
    assert (got, sent) == (0, SENT)
    assert type(reply) is m.Result


def test_an_exchange_does_not_look_at_replies_that_are_rung_for(memory, bell, exchange):
    got, _, sent, reply = exchange(answer=ANSWER, replies=control.reply_mailbox(memory, False))
    assert (got, sent) == (0, SENT)
    assert type(reply) is m.Result


def test_an_exchange_with_anything_else_is_an_error(memory, bell):
    requests = control.request_mailbox(memory, True)
    with pytest.raises((TypeError, AttributeError)):
        requests.exchange({}, (), bell, None, 0.0, *WORDS)
    with pytest.raises((TypeError, struct.error)):
        requests.exchange({}, (), bell, control.reply_mailbox(memory, True), 0.0, *WORDS[:-1])


@pytest.mark.parametrize(
    ("sequence", "length", "flag"),
    [(2, 0, 0), (1, 8, 2), (2**64 - 1, 0, 0), (1, INLINE_LIMIT + 1, 0), (1, 2**32 - 1, 0), (1, 3, 7), (1, 3, 1)],
)
def test_a_slot_that_was_scribbled_over_is_a_violation(memory, sequence, length, flag):
    memory.buffer(12288, 16)[:] = struct.pack("<QII", sequence, length, flag)
    with pytest.raises(ProtocolViolation):
        control.request_mailbox(memory, True).take()


def test_a_reader_that_claims_more_than_was_written_is_a_violation(memory):
    writer = control.request_mailbox(memory, True)
    for _ in range(SLOTS):
        writer.put(b"")
    memory.buffer(64, 8)[:] = struct.pack("<Q", 10 * SLOTS)
    with pytest.raises(ProtocolViolation, match="says it took"):
        writer.full  # noqa: B018 - the property asks the other side


def test_mailboxes_of_two_processes_agree(memory):
    def echo():
        requests, replies, taken = control.request_mailbox(memory, True), control.reply_mailbox(memory, True), 0
        while taken < 500:
            message = requests.take()
            if message is not None:
                replies.put(message[::-1])
                taken += 1

    peer = Peer(echo)
    requests, replies = control.request_mailbox(memory, True), control.reply_mailbox(memory, True)
    for number in range(500):
        requests.put(b"%09d" % number)
        reply = None
        while reply is None:
            reply = replies.take()
        assert reply == (b"%09d" % number)[::-1]
    peer.finish()


def test_a_stats_page_is_read_as_it_was_written(memory):
    writer = control.StatsWriter(memory, os.getpid())
    writer.completed, writer.failed, writer.busy = 5, 1, 12345
    writer.show(control.RUNNING, 99, 2, 7)
    assert control.read_stats(memory) == control.Stats(os.getpid(), control.RUNNING, 99, 2, 7, 5, 1, 12345)


def test_a_reader_never_sees_half_an_update_of_the_stats_page(memory):
    def write():
        writer = control.StatsWriter(memory, 1)
        for number in range(1, 20_000):
            writer.completed = writer.failed = writer.busy = number
            writer.show(number % 4, number, number, number)
            sum(range(200))  # as a worker, which has other things to do between two updates

    peer = Peer(write)
    last = 0
    while last < 19_999:
        stats = control.read_stats(memory, tries=10**9)
        assert len({stats.since, stats.model, stats.request, stats.completed, stats.failed, stats.busy}) == 1
        last = stats.since
    peer.finish()


def test_a_writer_stopped_in_the_middle_does_not_hang_a_reader(memory):
    control.StatsWriter(memory, 1).show(control.RUNNING, 1)
    memory.buffer(8192 + 8, 8)[:] = struct.pack("<Q", 3)
    assert control.read_stats(memory, tries=10).step == control.RUNNING
