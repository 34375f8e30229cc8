"""``python -m benchmarks [--quick] [--output FOLDER] [SUITE ...]``, from the root of the project."""

import argparse
import json
import sys
from pathlib import Path

from benchmarks import plots, report
from benchmarks.agents import Agents, Failed
from benchmarks.figures import Entry, NotPossible, as_data
from benchmarks.machine import conditions
from benchmarks.suites import FULL, QUICK, SUITES
from benchmarks.verdicts import verdicts

_FOLDER = Path(__file__).parent / "results"


def main() -> None:
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
    facts = conditions(sys.argv[1:])
    for name, value in facts.items():
        print(f"{name:<9}{value}")
    entries: list[Entry] = []
    plan = QUICK if arguments.quick else FULL
    titles = {name: suite.title for name, suite in SUITES.items()}
    print(
        f"Medians of {plan.rounds} interleaved rounds; ratios are within a round. Workers compute x + 0.\n",
        flush=True,
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = arguments.output / "results.json"
    with Agents() as agents:
        for name in arguments.suites or SUITES:
            found = list(SUITES[name].function(plan, agents))
            entries += found
            print(report.text(found, titles), flush=True)
            # After each suite: a run of an hour that is broken off has not been for nothing.
            results.write_text(json.dumps({"conditions": facts, "entries": as_data(entries)}, indent=1) + "\n")
        print(verdicts(entries))
        caption = f"{facts['cpu']}, {facts['cores']} cores; {facts['command']}"
        arguments_of_plots = {"entries": as_data(entries), "folder": str(arguments.output), "caption": caption}
        try:
            drawn = agents.run(plots.PACKAGES, "pictures:draw_all", **arguments_of_plots)
        except (NotPossible, Failed) as reason:
            print(f"no plots: {reason}")
            drawn = []
    print(f"written to {arguments.output}: {', '.join([results.name, *drawn])}")


if __name__ == "__main__":
    main()
