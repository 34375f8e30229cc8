"""Who receives, without processes: threads, a queue for a mailbox, and real events."""

import queue
import threading

import pytest

from neuropod_ope.client.receiver import ReceiverRole


class Reply:
    def __init__(self):
        self.done = False


class Mailbox:
    """What is put is completed by whoever receives; counts how many threads receive at once."""

    def __init__(self):
        self.arrived = queue.Queue()
        self.receiving = 0
        self.most_receiving = 0
        self.role = ReceiverRole(self.receive, slice_s=0.01)

    def receive(self, seconds):
        self.receiving += 1
        self.most_receiving = max(self.most_receiving, self.receiving)
        try:
            reply = self.arrived.get(timeout=seconds) if seconds else self.arrived.get_nowait()
            reply.done = True
            self.role.completed(reply)
        except queue.Empty:
            pass
        self.receiving -= 1


def test_a_lone_waiter_receives_for_itself():
    mailbox, reply = Mailbox(), Reply()
    mailbox.arrived.put(reply)
    assert mailbox.role.wait(reply, None)


def test_a_wait_ends_at_its_deadline():
    clock = iter([0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    role = ReceiverRole(lambda seconds: None, slice_s=0.5, clock=lambda: next(clock))
    assert not role.wait(Reply(), 2.0)


def test_a_deadline_that_has_passed_still_sees_what_is_done():
    role = ReceiverRole(lambda seconds: None, slice_s=0.5, clock=lambda: 100.0)
    done = Reply()
    done.done = True
    assert role.wait(done, 0.0)
    assert not role.wait(Reply(), 0.0)


@pytest.mark.parametrize("order", ["as they wait", "the other way round"])
def test_all_waiters_get_their_replies_and_one_thread_receives_at_a_time(order):
    mailbox = Mailbox()
    replies = [Reply() for _ in range(20)]
    threads = [threading.Thread(target=mailbox.role.wait, args=(reply, None)) for reply in replies]
    for thread in threads:
        thread.start()
    for reply in replies if order == "as they wait" else reversed(replies):
        mailbox.arrived.put(reply)
    for thread in threads:
        thread.join(30)
    assert all(reply.done for reply in replies)
    assert mailbox.most_receiving == 1


def test_several_threads_may_wait_for_one_reply():
    mailbox, reply = Mailbox(), Reply()
    came = []
    threads = [threading.Thread(target=lambda: came.append(mailbox.role.wait(reply, None))) for _ in range(10)]
    for thread in threads:
        thread.start()
    mailbox.arrived.put(reply)
    for thread in threads:
        thread.join(30)
    assert came == [True] * 10


def test_when_the_receiver_gives_up_another_waiter_takes_over():
    entered, give_up = threading.Event(), threading.Event()
    mailbox, reply = Mailbox(), Reply()

    def receive_once_and_fail(seconds):
        entered.set()
        give_up.wait(30)
        role._receive = mailbox.receive
        raise KeyboardInterrupt

    role = mailbox.role = ReceiverRole(receive_once_and_fail, slice_s=30)
    caught = []

    def interrupted():
        try:
            role.wait(Reply(), None)
        except KeyboardInterrupt as error:
            caught.append(error)

    first = threading.Thread(target=interrupted)
    first.start()
    entered.wait(30)
    second = threading.Thread(target=role.wait, args=(reply, None))
    second.start()
    mailbox.arrived.put(reply)
    give_up.set()
    first.join(30)
    second.join(29)
    assert len(caught) == 1
    assert reply.done


def test_poking_receives_what_is_there_unless_somebody_receives():
    mailbox, reply = Mailbox(), Reply()
    mailbox.arrived.put(reply)
    mailbox.role.poke()
    assert reply.done
