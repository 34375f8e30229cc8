"""``python -m benchmarks [--quick] [--json FILE]``, from the root of the project."""

import argparse
import json
from pathlib import Path

from benchmarks import neuropod, pipe, shared_memory
from benchmarks.contender import Case
from benchmarks.measure import measure
from benchmarks.report import as_data, conditions, table

CASES = (
    Case("1 KB", 1 << 10, calls=4000),
    Case("64 KB", 1 << 16, calls=2000),
    Case("1 MB", 1 << 20, calls=400),
    Case("16 MB", 1 << 24, calls=40),
)
CONTENDERS = (*shared_memory.CONTENDERS, *pipe.CONTENDERS, *neuropod.CONTENDERS)
REFERENCE = shared_memory.BARE.name
ROUNDS, QUICK_ROUNDS = 9, 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What a call costs.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds instead of {ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file too")
    arguments = parser.parse_args()
    rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    facts = conditions()
    for name, value in facts.items():
        print(f"{name:<9}{value}")
    print(f"Medians of {rounds} rounds; ratios to {REFERENCE!r}. The model computes x + 0.\n", flush=True)
    results = list(measure(CASES, CONTENDERS, rounds))
    print(table(results, REFERENCE))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(as_data(results, REFERENCE, facts), indent=1) + "\n")


if __name__ == "__main__":
    main()
