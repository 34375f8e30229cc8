import os

import pytest
from peers import SEGMENT_KINDS

from neuropod_worker.shm import control, native


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


@pytest.fixture
def native_library():
    if native.library is None:
        pytest.skip("the native library was not built here; test_installing.py tells whether it should have been")
    return native.library


@pytest.fixture(params=["native", "python"])
def mailbox_code(request, monkeypatch):
    """What repeated messages are read and written by."""
    if request.param == "python":
        monkeypatch.setattr(control, "MAILBOX", control.Mailbox)
    else:
        request.getfixturevalue("native_library")
