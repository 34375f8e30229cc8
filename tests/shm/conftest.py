import os

import pytest
from peers import SEGMENT_KINDS


@pytest.fixture(params=sorted(SEGMENT_KINDS))
def make_segment(request):
    """Makes segments of each kind; closes what the test made."""
    made = []

    def make(size):
        made.append(SEGMENT_KINDS[request.param](size))
        return made[-1]

    yield make
    for fd in made:
        os.close(fd)
