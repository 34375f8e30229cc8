"""Every failure that docs/failure-modes.md tells of has a test, and every error says what to do."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs/failure-modes.md").read_text(encoding="utf-8")


def rows():
    """Those of the tables whose last column names tests."""
    tested = False
    for line in TEXT.splitlines():
        if line.startswith("| ---"):
            continue
        if line.endswith("| test |"):
            tested = True
        elif not line.startswith("|"):
            tested = False
        elif tested:
            yield line


def test_every_row_names_a_test():
    found = list(rows())
    assert len(found) > 30
    assert not [row for row in found if not re.search(r"`test_\w+`", row.rsplit(" | ", 1)[1])]


def test_every_test_that_is_named_exists():
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    existing = set(re.findall(r"^(?:async )?def (test_\w+)", code, re.MULTILINE))
    assert set(re.findall(r"`(test_\w+)`", TEXT)) <= existing
