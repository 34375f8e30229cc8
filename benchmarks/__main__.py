"""``python -m benchmarks [--quick] [--output FOLDER] [SUITE ...]``, from the root of the project."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import plots, report
from benchmarks.agents import Agents, Failed
from benchmarks.figures import Entry, NotPossible, as_data
from benchmarks.machine import conditions, others_percent, show
from benchmarks.suites import FULL, QUICK, SUITES, Plan
from benchmarks.verdicts import verdicts

_FOLDER = Path(__file__).parent / "results"
_CALM_PERCENT = 20


def main() -> None:
    arguments = _arguments()
    plan: Plan = QUICK if arguments.quick else FULL
    facts = conditions("benchmarks", sys.argv[1:])
    show(facts)
    print(
        f"Medians of {plan.rounds} interleaved rounds; ratios are within a round. Workers compute x + 0.\n",
        flush=True,
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = arguments.output / "results.json"
    entries: list[Entry] = []
    others = 0.0
    with Agents() as agents:
        for others_now, found in _measured(arguments.suites or list(SUITES), plan, agents):
            others = max(others, others_now)
            facts["others"] = f"{others:.0f} % of a core used by other processes when a suite began, at most"
            entries += found
            # After each suite: a run of an hour that is broken off has not been for nothing.
            results.write_text(json.dumps({"conditions": facts, "entries": as_data(entries)}, indent=1) + "\n")
        print(f"{facts['others']}\n\n{verdicts(entries, calm=others <= _CALM_PERCENT)}")
        drawn = _draw(
            agents, entries, arguments.output, f"{facts['cpu']}, {facts['cores']} cores; {facts['command']}"
        )
    print(f"written to {arguments.output}: {', '.join([results.name, *drawn])}")


def _arguments() -> argparse.Namespace:
    listed = "\n".join(f"  {name:<11}{suite.title}" for name, suite in SUITES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="What a call costs, beside what it could be replaced by.",
        epilog=f"suites (all unless named):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="what to measure")
    parser.add_argument("--quick", action="store_true", help="under two minutes: for a look, not for a verdict")
    parser.add_argument("--output", type=Path, default=_FOLDER, metavar="FOLDER", help="for results.json and plots")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.suites if name not in SUITES]
    if unknown:
        parser.error(f"there is no suite {unknown[0]!r}, but {', '.join(SUITES)}")
    return arguments


def _measured(names: Sequence[str], plan: Plan, agents: Agents) -> Iterator[tuple[float, list[Entry]]]:
    """What other processes used when a suite began, and its entries, which are shown at once."""
    titles = {name: suite.title for name, suite in SUITES.items()}
    for name in names:
        others = others_percent()
        found = list(SUITES[name].function(plan, agents))
        print(report.text(found, titles), flush=True)
        yield others, found


def _draw(agents: Agents, entries: Sequence[Entry], folder: Path, caption: str) -> list[str]:
    arguments = {"entries": as_data(entries), "folder": str(folder), "caption": caption}
    try:
        drawn: list[str] = agents.run(plots.PACKAGES, "pictures:draw_all", **arguments)
    except (NotPossible, Failed) as reason:
        print(f"no plots: {reason}")
        return []
    return drawn


if __name__ == "__main__":
    main()
