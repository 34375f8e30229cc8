from sweep.table import table
from sweep.trial import Row
from sweep.versions import Target


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
