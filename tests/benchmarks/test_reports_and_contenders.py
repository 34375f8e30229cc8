import numpy as np
import pytest

from benchmarks.__main__ import CONTENDERS, REFERENCE
from benchmarks.measure import Result, medians
from benchmarks.report import as_data, ratios, table

RESULTS = [
    Result("1 KB", "bare", 2.0, 4.0),
    Result("1 KB", "full", 3.0, 30.0),
    Result("1 MB", "bare", 100.0, 110.0),
    Result("1 MB", "full", 1000.0, 1200.0),
]


def test_one_disturbed_round_does_not_show():
    calm = [1.0] * 99 + [5.0]
    disturbed = [50.0] * 100
    p50, p99 = medians([calm, disturbed, calm])
    assert p50 == 1.0
    assert p99 == np.percentile(calm, 99)


def test_ratios_are_to_the_reference_in_the_same_case():
    assert [ratio for _, ratio in ratios(RESULTS, "bare")] == [1.0, 1.5, 1.0, 10.0]


def test_the_table_has_a_block_for_each_case():
    assert table(RESULTS, "bare") == (
        "1 KB  p50 µs  p99 µs  p50 ratio\n"
        "bare     2.0     4.0        1.0\n"
        "full     3.0    30.0        1.5\n"
        "\n"
        "1 MB  p50 µs  p99 µs  p50 ratio\n"
        "bare   100.0   110.0        1.0\n"
        "full  1000.0  1200.0       10.0\n"
    )


def test_the_data_say_what_was_run_and_where():
    data = as_data(RESULTS[:2], "bare", {"command": "python -m benchmarks", "cores": 2})
    assert data["conditions"] == {"command": "python -m benchmarks", "cores": 2}
    assert data["results"][1] == {"case": "1 KB", "contender": "full", "p50_us": 3.0, "p99_us": 30.0, "ratio": 1.5}


def test_the_reference_is_a_contender():
    assert REFERENCE in [contender.name for contender in CONTENDERS]


@pytest.mark.workers
@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_every_contender_computes_the_same(contender):
    x = np.arange(256, dtype=np.float32)
    with contender.open(x.nbytes) as call:
        np.testing.assert_array_equal(call(x), x)
        np.testing.assert_array_equal(call(x[::-1].copy()), x[::-1])
