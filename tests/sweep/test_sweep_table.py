import json
from pathlib import Path

from sweep.table import table
from sweep.trial import Row
from sweep.versions import Target, in_useful_order

ROOT = Path(__file__).parents[2]


def test_the_table_in_the_docs_is_that_of_what_was_tried() -> None:
    tried = json.loads((ROOT / "tests/sweep/tried.json").read_text())
    expected = [line for line in table([Row(*row) for row in tried.values() if row]).splitlines() if "|" in line]
    shown = (ROOT / "docs/versions.md").read_text(encoding="utf-8").splitlines()
    assert sorted(line for line in shown if "|" in line) == sorted(expected)


def test_half_a_sweep_tells_of_all_frameworks_and_of_old_and_new_versions() -> None:
    torch, keras = [Target("torchscript", str(9 - i)) for i in range(8)], [Target("keras", "3"), Target("keras", "2")]
    order = in_useful_order([*torch, *keras])
    assert [target.version for target in order] == ["9", "3", "5", "2", "7", "3", "8", "4", "6", "2"]
    assert sorted(order) == sorted([*torch, *keras])


def test_the_table_tells_of_each_framework_what_works_and_why_the_rest_does_not() -> None:
    rows = [
        Row("torchscript", "1.8.1", "3.9", "2021-05-20", "", 1700, "works"),
        Row("torchscript", "1.0.1", "3.7", "", "", 0, "does not run: a | b"),
        Row("keras", "2.4.3", "3.8", "2020-08-19", "tensorflow==2.3.0", 700, "works"),
    ]
    lines = table(rows, [Target("keras", "2.3.1"), Target("keras", "2.2.5")]).splitlines()
    assert "## torch: 1 of 2" in lines
    assert "| 1.8.1 | 3.9 | 2021-05-20 | 1700 | works |" in lines
    assert "| 1.0.1 | 3.7 | catalog | – | does not run: a \\| b |" in lines
    assert lines[-1] == "Not tried yet: 2.3.1, 2.2.5."
    assert "| 2.4.3 | 3.8 | 2020-08-19 | 700 | works (with tensorflow==2.3.0) |" in lines
