import itertools

import pytest

from neuropod_worker.wire import messages as m
from neuropod_worker.wire.codec import ProtocolViolation
from neuropod_worker.wire.conversation import CONNECTION, MODEL, REQUEST, TABLES, step


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_every_state_that_a_table_leads_to_is_in_it(name, table):
    assert {state for row in table.values() for state in row.values()} <= set(table)


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_every_state_can_be_reached(name, table):
    reached, seen = [next(iter(table))], set()
    while reached:
        state = reached.pop()
        if state not in seen:
            seen.add(state)
            reached += table[state].values()
    assert seen == set(table)


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_what_a_table_does_not_name_is_a_violation(name, table):
    for state, kind in itertools.product(table, m.KINDS.values()):
        if kind in table[state]:
            assert step(table, state, kind) == table[state][kind]
        else:
            with pytest.raises(ProtocolViolation, match=f"{kind.__name__} is not allowed in state '{state}'"):
                step(table, state, kind)


def test_every_message_of_the_mailboxes_has_a_place_in_an_open_connection():
    handshake = {m.Hello, m.Welcome, m.Refused}
    assert set(CONNECTION["open"]) == set(m.KINDS.values()) - handshake


def test_a_request_ends_after_exactly_one_reply():
    replies = {m.Loaded, m.Result, m.Failed, m.Unloaded, m.Cancelled}
    for state, row in REQUEST.items():
        for kind, after in row.items():
            assert (after == "done") == (kind in replies), (state, kind)


def test_a_failed_load_leaves_the_model_id_free():
    assert step(MODEL, "loading", m.Failed) == "absent"
