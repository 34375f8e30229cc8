"""Which of several instances gets the next request."""

import pytest

from neuropod_ope.client.dispatch import Standing, least_busy


@pytest.mark.parametrize(
    ("standings", "chosen"),
    [
        ([(True, 0)], 0),
        ([(False, 7)], 0),
        ([(True, 0), (True, 0)], 0),
        ([(True, 1), (True, 0), (True, 0)], 1),
        ([(True, 5), (True, 4), (True, 3)], 2),
        ([(False, 0), (True, 30)], 1),
        ([(False, 2), (False, 1)], 1),
    ],
)
def test_the_least_busy_of_those_that_live_is_chosen_and_the_first_of_equals(standings, chosen):
    assert least_busy([Standing(*standing) for standing in standings]) == chosen
