import json
import subprocess
import sys

import pytest

from benchmarks.figures import Figure, Missing, as_data, from_data, median_and_spread, ratios
from benchmarks.goals import GOALS, Goal
from benchmarks.machine import others_percent
from benchmarks.report import aligned, number, tables, text
from benchmarks.suites import SUITES
from benchmarks.verdicts import verdicts

ENTRIES = [
    Figure("latency", "unpinned", "bare", "1 KB", "p50", 2.0, "µs"),
    Figure("latency", "unpinned", "bare", "1 KB", "ratio", 1.0, ""),
    Figure("latency", "unpinned", "full", "1 KB", "p50", 12.34, "µs"),
    Figure("latency", "unpinned", "full", "1 KB", "ratio", 6.17, ""),
    Figure("latency", "unpinned", "bare", "1 MB", "p50", 100.4, "µs"),
    Missing("latency", "unpinned", "full", "1 MB", "full does not install here"),
]


def test_one_disturbed_round_does_not_show():
    median, spread = median_and_spread([1.0, 50.0, 1.2, 1.2, 1.2])
    assert (median, spread) == (1.2, 0.0)


def test_the_spread_is_the_middle_half_of_the_rounds():
    median, spread = median_and_spread([1.0, 2.0, 4.0, 5.0, 9.0])
    assert (median, spread) == (4.0, (5.0 - 2.0) / 4.0)


def test_ratios_are_taken_within_each_round():
    assert ratios([2.0, 20.0, 6.0], [1.0, 10.0, 2.0]) == [2.0, 2.0, 3.0]


def test_a_ratio_to_several_is_to_the_least_of_each_round():
    assert ratios([2.0, 20.0], [1.0, 10.0], [4.0, 5.0]) == [2.0, 4.0]


def test_a_table_has_contenders_as_rows_and_cases_as_columns_and_says_what_is_missing():
    first, ratios, notes = tables(ENTRIES, "unpinned")
    assert first == (
        "| unpinned: p50, µs | 1 KB | 1 MB |\n"
        "| ----------------- | ---: | ---: |\n"
        "| bare              | 2.00 |  100 |\n"
        "| full              | 12.3 |    – |\n"
    )
    assert "| full            | 6.17 |    – |" in ratios
    assert notes == "* full: full does not install here\n"


def test_a_table_with_one_column_has_the_quantities_as_columns():
    (table,) = tables(ENTRIES[:4], "unpinned")
    assert table.splitlines()[0] == "| unpinned: 1 KB | p50, µs | ratio |"


def test_the_report_has_a_heading_for_each_suite():
    assert text(ENTRIES, {"latency": "calls"}).startswith("## latency: calls\n")


def test_figures_survive_their_json():
    assert from_data(json.loads(json.dumps(as_data(ENTRIES)))) == ENTRIES


@pytest.mark.parametrize(("value", "shown"), [(0.614, "0.61"), (9.87, "9.87"), (12.34, "12.3"), (4321.9, "4322")])
def test_numbers_have_about_three_digits(value, shown):
    assert number(value) == shown


def test_columns_of_numbers_end_together():
    assert aligned([["a", "b"], ["c", "100"]]) == "| a |   b |\n| - | --: |\n| c | 100 |\n"


def test_goals_say_what_was_met_and_leave_out_what_was_not_to_be_measured():
    goals = [
        Goal("latency", "unpinned", "full", "1 KB", "ratio", 5.0, ("bare",)),
        Goal("latency", "unpinned", "full", "1 KB", "p50", 12.0, ("bare",), least=True),
        Goal("latency", "unpinned", "full", "64 MB", "p50", 12.0, ("bare",)),
    ]
    assert last_cells(verdicts(ENTRIES, goals)) == ["missed", "met"]
    assert verdicts([], goals) == ""


@pytest.mark.parametrize(
    ("reference", "verdict"),
    [
        ([Figure("s", "t", "bare", "1 KB", "p50", 2.0, "µs", 0.5)], "void: bare varied by 50%"),
        ([Missing("s", "t", "bare", "1 KB", "no such package")], "void: bare did not run"),
        ([], "void: bare did not run"),
        ([Figure("s", "t", "bare", "1 KB", "p50", 2.0, "µs", 0.01)], "met"),
    ],
)
def test_a_goal_is_void_without_a_calm_reference(reference, verdict):
    ours = Figure("s", "t", "full", "1 KB", "p50", 3.0, "µs")
    goal = Goal("s", "t", "full", "1 KB", "p50", 4.0, ("bare",))
    assert last_cells(verdicts([*reference, ours], [goal])) == [verdict]


def test_a_goal_is_void_if_its_own_row_did_not_run():
    entries = [*ENTRIES[4:], Figure("latency", "unpinned", "bare", "1 MB", "p50", 2.0, "µs")]
    goal = Goal("latency", "unpinned", "full", "1 MB", "p50", 4.0, ("bare",))
    assert last_cells(verdicts(entries, [goal])) == ["void: it did not run"]


def test_no_goal_is_judged_on_a_busy_machine():
    goal = Goal("latency", "unpinned", "full", "1 KB", "p50", 20.0, ("bare",))
    assert last_cells(verdicts(ENTRIES, [goal])) == ["met"]
    assert last_cells(verdicts(ENTRIES, [goal], calm=False)) == ["void: the machine was busy"]


def test_a_busy_process_is_seen():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            assert others_percent() > 0
        finally:
            process.kill()


def last_cells(table):
    return [line.rsplit("|", 2)[1].strip() for line in table.splitlines()[2:]]


def test_every_goal_belongs_to_a_suite():
    assert {goal.suite for goal in GOALS} <= set(SUITES)


def test_every_suite_can_be_imported():
    for suite in SUITES.values():
        assert callable(suite.function)
