"""Each suite runs from end to end, and yields figures of every quantity that it has a goal for. No times."""

from pathlib import Path

import pytest

from benchmarks.agents import ROOT, Agents
from benchmarks.environments import environment_with
from benchmarks.figures import Figure, Missing, NotPossible
from benchmarks.goals import GOALS
from benchmarks.lines import PACKAGES
from benchmarks.report import text
from benchmarks.suites import SUITES, Plan

MINIMAL = Plan(rounds=1, longest_s=0.0, quick=True)
WITH_FRAMEWORKS = {"latency", "real"}


@pytest.fixture(scope="module")
def agents():
    with Agents() as running:
        yield running


@pytest.mark.parametrize(
    "suite",
    [
        pytest.param(name, marks=pytest.mark.frameworks if name in WITH_FRAMEWORKS else pytest.mark.workers)
        for name in SUITES
    ],
)
def test_every_suite_runs(agents, suite):
    entries = list(SUITES[suite].function(MINIMAL, agents))
    assert [one for one in entries if isinstance(one, Missing) and "failed" in one.reason] == []
    figures = {one[:5] for one in entries if isinstance(one, Figure)}
    columns = {one.column for one in entries}
    goals = {goal[:5] for goal in GOALS if goal.suite == suite and goal.column in columns}
    assert goals <= figures
    assert f"## {suite}: title\n" in text(entries, {suite: "title"})


def test_every_suite_is_in_the_docs():
    text = (ROOT / "docs" / "performance.md").read_text()
    assert [name for name in SUITES if f"| `{name}` |" not in text] == []


@pytest.mark.frameworks
def test_a_profile_tells_what_lines_of_caller_and_worker_cost(agents):
    try:
        sampler = Path(environment_with(PACKAGES)).parent / "py-spy"
    except NotPossible as reason:
        pytest.skip(str(reason))
    found = agents.run((), "profiled:lines", case="1 MB", seconds=1, sampler=str(sampler))
    assert set(found) == {"caller", "worker"}
    for lines in found.values():
        assert all(cost > 0 for cost in lines.values())
        assert any("neuropod" in line for line in lines)
