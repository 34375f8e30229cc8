"""Rounds in turn: every contender once per round, alone, so that what the machine does meanwhile hits all."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.agents import Agents, Failed
from benchmarks.contenders import CONTENDERS
from benchmarks.figures import Entry, Figure, Missing, NotPossible, median_and_spread, ratios

_LINE = 110


class Row(NamedTuple):
    """One way to measure, for one row of a table."""

    name: str
    packages: tuple[str, ...]
    function: str
    arguments: Mapping[str, Any]


def contender_rows(names: Sequence[str], function: str, **arguments: Any) -> list[Row]:
    """A row for each of these contenders."""
    return [Row(name, CONTENDERS[name].packages, function, {"contender": name, **arguments}) for name in names]


def interleaved(
    agents: Agents,
    where: tuple[str, str, str],
    rows: Sequence[Row],
    rounds: int,
    units: Mapping[str, str],
    ratios_to: Mapping[str, Sequence[str]] | None = None,
    ratio_of: str = "p50",
) -> Iterator[Entry]:
    """Figures of the rows in one column; ``where`` is suite, table, column, ``units`` those of the quantities.

    ``ratios_to`` are more quantities, by name: the ratio of each row's ``ratio_of`` to that of a reference row, or
    to the least of several; left out where such a row is not measured.
    """
    suite, table, column = where
    collected: dict[str, list[dict[str, float]]] = {row.name: [] for row in rows}
    missing: dict[str, str] = {}
    for number in range(rounds):
        for row in rows:
            if row.name in missing:
                continue
            _show(f"{suite}: {table}: {column}: round {number + 1}: {row.name}")
            try:
                collected[row.name].append(agents.run(row.packages, row.function, **row.arguments))
            except NotPossible as reason:
                missing[row.name] = str(reason)
            except Failed as failure:
                missing[row.name] = f"failed: {str(failure).strip().splitlines()[-1]}"
                print(f"\n{failure}", file=sys.stderr)
    _show("")
    for row in rows:
        if row.name in missing:
            yield Missing(suite, table, row.name, column, missing[row.name])
            continue
        values = {quantity: [one[quantity] for one in collected[row.name]] for quantity in collected[row.name][0]}
        for name, references in (ratios_to or {}).items():
            if ratio_of in values and set(references) <= collected.keys() - missing.keys():
                of_references = [[one[ratio_of] for one in collected[reference]] for reference in references]
                values[name] = ratios(values[ratio_of], *of_references)
        for quantity, of_rounds in values.items():
            value, spread = median_and_spread(of_rounds)
            yield Figure(suite, table, row.name, column, quantity, value, units.get(quantity, ""), spread)


def _show(progress: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{progress:{_LINE}.{_LINE}}\r", end="", file=sys.stderr, flush=True)
