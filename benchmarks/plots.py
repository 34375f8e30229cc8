"""Figures as pictures (SVG): a bar for each row, a panel for each column. Runs where matplotlib is."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Entry, Figure

PACKAGES = ("matplotlib>=3.8",)
_OURS, _OTHERS = "#c8553d", "#8fa3b0"
_MOST_COLUMNS = 4
_QUANTITIES = ("p50", "calls", "speed-up")  # the first of these that a table has is drawn


def draw(entries: Sequence[Entry], folder: Path, caption: str) -> list[str]:
    """One picture per table, named after suite and table; gives the names."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    written = []
    for suite, table in dict.fromkeys((entry.suite, entry.table) for entry in entries):
        figures = [one for one in entries if isinstance(one, Figure) and (one.suite, one.table) == (suite, table)]
        quantity = next((name for name in _QUANTITIES if any(one.quantity == name for one in figures)), None)
        drawn = [one for one in figures if one.quantity == quantity]
        if not drawn:
            continue
        rows = list(dict.fromkeys(one.row for one in drawn))[::-1]
        columns = list(dict.fromkeys(one.column for one in drawn))
        across = min(len(columns), _MOST_COLUMNS)
        down = -(-len(columns) // across)
        size = (3 + 2.6 * across, down * (1.2 + 0.28 * len(rows)))
        picture, axes = pyplot.subplots(down, across, sharey=True, squeeze=False, figsize=size, layout="constrained")
        for axis in axes.flat[len(columns) :]:
            axis.remove()
        for axis, column in zip(axes.flat, columns, strict=False):
            values = {one.row: one.value for one in drawn if one.column == column}
            axis.barh(
                rows,
                [values.get(row, 0) for row in rows],
                color=[_OURS if row.startswith("neuropod") else _OTHERS for row in rows],
            )
            if min(values.values()) > 0 and max(values.values()) > 20 * min(values.values()):
                axis.set_xscale("log")
            axis.set_title(f"{column}: {quantity}, {drawn[0].unit}", fontsize=9)
            axis.tick_params(labelsize=8)
        picture.suptitle(caption, fontsize=7, x=0.01, ha="left")
        name = f"{suite}-{table}".replace(" ", "-") + ".svg"
        picture.savefig(folder / name)
        pyplot.close(picture)
        written.append(name)
    return written
