"""``python -m benchmarks.lines [CASE]``: what each line of the caller and of the worker costs in a call."""

import argparse
import linecache
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.agents import ROOT, Agents
from benchmarks.cases import CASES
from benchmarks.environments import environment_with
from benchmarks.machine import conditions, others_percent, show
from benchmarks.report import aligned, number

PACKAGES = ("py-spy>=0.4",)
_SECONDS = 15
_LEAST_PART = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lines", description=__doc__)
    parser.add_argument("case", nargs="?", default="1 KB", choices=CASES, help=", ".join(CASES))
    case = parser.parse_args().case
    sampler = str(Path(environment_with(PACKAGES)).parent / "py-spy")
    facts = conditions("benchmarks.lines", sys.argv[1:])
    show(facts)
    print(f"others   {others_percent():.0f} % of a core used by other processes when it began\n")
    with Agents() as agents:
        found = agents.run((), "profiled:lines", case=case, seconds=_SECONDS, sampler=sampler)
    for side, lines in found.items():
        print(_table(side, lines))


def _table(side: str, lines: Mapping[str, float]) -> str:
    total = sum(lines.values())
    rows = [[f"{side}: {number(total)} µs a call", "µs"]]
    rest = 0.0
    for line, cost in sorted(lines.items(), key=lambda item: -item[1]):
        if cost < _LEAST_PART * total:
            rest += cost
            continue
        file, _, at = line.rpartition(":")
        shown = file.removeprefix(f"{ROOT}/")
        rows.append([f"`{linecache.getline(file, int(at)).strip()}` ({shown}:{at})", number(cost)])
    rows.append(["all other lines", number(rest)])
    return aligned(rows)


if __name__ == "__main__":
    main()
