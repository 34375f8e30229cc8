"""Figures as Markdown tables, aligned so that they can be read in a terminal. Pure."""

from collections.abc import Mapping, Sequence

from benchmarks.figures import Entry, Figure, Missing

_NOTHING = "–"


def text(entries: Sequence[Entry], titles: Mapping[str, str]) -> str:
    """All suites: a heading for each and its tables."""
    parts = []
    for suite in dict.fromkeys(entry.suite for entry in entries):
        parts.append(f"## {suite}: {titles[suite]}\n")
        of_suite = [entry for entry in entries if entry.suite == suite]
        for table in dict.fromkeys(entry.table for entry in of_suite):
            parts += tables([entry for entry in of_suite if entry.table == table], table)
    return "\n".join(parts)


def tables(entries: Sequence[Entry], title: str) -> list[str]:
    """A table for each quantity with contenders as rows and cases as columns; with a single column, one table with
    the quantities as columns. Then why what is missing is missing."""
    figures = [entry for entry in entries if isinstance(entry, Figure)]
    rows = list(dict.fromkeys(entry.row for entry in entries))
    columns = list(dict.fromkeys(entry.column for entry in entries if entry.column))
    quantities = dict.fromkeys((figure.quantity, figure.unit) for figure in figures)
    parts = []
    if len(columns) == 1:
        cells = {(one.row, _headed(one.quantity, one.unit)): one.value for one in figures}
        head = f"{title}: {columns[0]}" if columns[0] != title else title
        parts.append(_table(head, rows, [_headed(*quantity) for quantity in quantities], cells))
    else:
        for quantity, unit in quantities:
            cells = {(one.row, one.column): one.value for one in figures if one.quantity == quantity}
            parts.append(_table(f"{title}: {_headed(quantity, unit)}", rows, columns, cells))
    notes = dict.fromkeys(f"{one.row}: {one.reason}" for one in entries if isinstance(one, Missing))
    if notes:
        parts.append("\n".join(f"* {note}" for note in notes) + "\n")
    return parts


def number(value: float) -> str:
    """With about three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _headed(quantity: str, unit: str) -> str:
    return f"{quantity}, {unit}" if unit else quantity


def _table(title: str, rows: Sequence[str], columns: Sequence[str], cells: Mapping[tuple[str, str], float]) -> str:
    lines = [[title, *columns]]
    for row in rows:
        values = [cells.get((row, column)) for column in columns]
        lines.append([row, *(_NOTHING if value is None else number(value) for value in values)])
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first line the header; all columns but the first to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = [f"{'-' * widths[0]}", *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    padded = [
        [f"{line[0]:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:])) + "\n"
