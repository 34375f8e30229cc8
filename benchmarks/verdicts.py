"""Which goals the figures meet. Pure.

"void" is what cannot be judged: the machine was busy with something else, something did not run, or what a goal is
compared with differed too much from round to round.
"""

from collections.abc import Sequence

from benchmarks.figures import Entry, Figure
from benchmarks.goals import GOALS, Goal
from benchmarks.report import aligned, number

_MOST_SPREAD = 0.2  # of a reference; on a calm machine it is a few hundredths


def verdicts(entries: Sequence[Entry], goals: Sequence[Goal] = GOALS, calm: bool = True) -> str:
    """A table of the goals of what was measured or should have been; empty if there are none."""
    lines = [["goal", "is", "should be", ""]]
    figures = {one[:5]: one for one in entries if isinstance(one, Figure)}
    asked = {one[:4] for one in entries}
    for goal in goals:
        if goal[:4] in asked:
            name = f"{goal.suite}: {goal.row}: {goal.column}: {goal.quantity}"
            limit = f"{'≥' if goal.least else '≤'} {number(goal.limit)}"
            figure = figures.get(goal[:5])
            shown = "–" if figure is None else f"{number(figure.value)} {figure.unit}".strip()
            verdict = _verdict(goal, figure, entries) if calm else "void: the machine was busy"
            lines.append([name, shown, limit, verdict])
    return aligned(lines) if len(lines) > 1 else ""


def _verdict(goal: Goal, figure: Figure | None, entries: Sequence[Entry]) -> str:
    for row in goal.against:
        main = next((one for one in entries if one[:4] == (*goal[:2], row, goal.column)), None)
        if not isinstance(main, Figure):
            return f"void: {row} did not run"
        if main.spread > _MOST_SPREAD:
            return f"void: {row} varied by {main.spread:.0%}"
    if figure is None:
        return "void: it did not run"
    return "met" if goal.met(figure.value) else "missed"
