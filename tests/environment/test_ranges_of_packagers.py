"""What packagers think of a range is what the search for an environment finds in it."""

import pytest

from neuropod_ope.environment.versions import in_range
from neuropod_worker.package.ranges import lies_in

VERSIONS = [
    "0.0.0",
    "0.0.3",
    "0.0.4",
    "0.1.0",
    "0.2.9",
    "1.0.0",
    "1.1.0",
    "1.4.0",
    "1.4.9",
    "1.5.0",
    "2.0.0",
    "3.11.7",
]
VERSIONS += ["1.4", "1.4.0.3", "2.13.0+cpu", "1.26.4.post1", "13.0.1"]
RANGES = [
    "*",
    "",
    "x",
    "1",
    "1.x",
    "1.4",
    "1.4.x",
    "1.4.*",
    "=1.4.0",
    "v1.4.0",
    "1.4.0",
    ">=1.1 <1.5",
    ">= 1.1 < 1.5",
]
RANGES += ["^1.4", "^0.0.3", "^0.0", "^0", "^0.1", "^0.0.0", "~1.4", "~1", "~0.0.3", ">1.4", ">1.4.0", ">1", "<=1.4"]
RANGES += [
    "<=1",
    "<1.4.x",
    "1.0 - 1.4",
    "1.0.0 - 2",
    "1.x || >=3",
    "<1.1||>=1.5.0",
    ">=3.6",
    "^1.x",
    "~1.x",
    ">*",
    "<=*",
]


@pytest.mark.parametrize("version_range", RANGES)
def test_packagers_and_the_search_agree_on_ranges(version_range):
    for version in VERSIONS:
        assert lies_in(version, version_range) == in_range(version, version_range), version


def test_a_pre_release_counts_as_its_release():
    assert lies_in("3.14.0rc1", "3.14.x")
    assert lies_in("2.22.0.dev3+gpu", ">=2.22")
