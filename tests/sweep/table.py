"""The rows as docs/versions.md."""

from collections.abc import Sequence

from sweep.trial import Row
from sweep.versions import Target

_NAMES = {"torchscript": "torch", "tensorflow": "TensorFlow", "keras": "Keras"}
_HEAD = """# Framework versions that were tried

Written by `make sweep` on Linux, x86-64, CPU: of every minor release of torch, TensorFlow and Keras the newest that
has a wheel for one of Python 3.6 to 3.13, and what the catalog lists. Each was resolved and built as the library
does for a package that asks for it, a model was packaged with it and answered out of process. *Packages of*: the day
up to which packages were taken, where the catalog has no pins of its own.
"""


def table(rows: Sequence[Row], untried: Sequence[Target] = ()) -> str:
    parts = [_HEAD.rstrip("\n")]
    for framework, name in _NAMES.items():
        chosen = [row for row in rows if row.framework == framework]
        working = sum(row.outcome == "works" for row in chosen)
        parts += [f"\n## {name}: {working} of {len(chosen)}\n", "| version | Python | packages of | MB | |"]
        parts += ["| --- | --- | --- | --- | --- |", *map(_line, chosen)]
        left = [target.version for target in untried if target.framework == framework]
        if left:
            parts.append(f"\nNot tried yet: {', '.join(left)}.")
    return "\n".join(parts) + "\n"


def _line(row: Row) -> str:
    outcome = row.outcome.replace("|", "\\|") + (f" (with {row.backend})" if row.backend else "")
    cells = (row.version, row.python, row.packages_of or "catalog", str(row.megabytes or "–"), outcome)
    return f"| {' | '.join(cells)} |"
