"""Tries every minor release of the frameworks and writes docs/versions.md: make sweep

Downloads some hundred gigabytes over hours, and keeps one version at a time. What came of each is written at once to
tests/sweep/tried.json, which is kept under version control, and the table from it; what is in there is not tried
again, so that a sweep that was interrupted goes on, on any machine. Arguments name frameworks or versions to try
anew.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
TRIED, CACHE = ROOT / "tests/sweep/tried.json", ROOT / "build/sweep-cache"
os.environ["UV_CACHE_DIR"] = str(CACHE / "uv")

from sweep.table import table  # noqa: E402 - after the folder of uv's cache is set
from sweep.trial import Row, tried  # noqa: E402
from sweep.versions import Target, in_useful_order, targets  # noqa: E402

from neuropod_ope.environment import EnvironmentPolicy  # noqa: E402
from neuropod_ope.environment.store import Store  # noqa: E402
from neuropod_ope.environment.uv import Uv  # noqa: E402


def main(anew: list[str]) -> None:
    uv, store = Uv(EnvironmentPolicy(CACHE)), Store(CACHE)
    rows: dict[str, Any] = json.loads(TRIED.read_text())
    wanted = targets(uv, store)
    for target in in_useful_order(wanted):
        key = " ".join(target)
        if key in rows and not {target.framework, target.version, key} & set(anew):
            continue
        started = time.monotonic()
        row = tried(target, uv, store)
        rows[key] = row and list(row)
        staged = TRIED.with_suffix(".staged")
        staged.write_text(json.dumps(rows, indent=1) + "\n")
        staged.replace(TRIED)
        shutil.rmtree(CACHE / "uv", ignore_errors=True)
        write_table(wanted, rows)
        print(f"{key}: {row.outcome if row else 'no wheel'} ({time.monotonic() - started:.0f} s)", flush=True)
    write_table(wanted, rows)
    shutil.rmtree(CACHE)


def write_table(wanted: list[Target], rows: dict[str, Any]) -> None:
    found = [rows.get(" ".join(target)) for target in wanted]
    untried = [target for target in wanted if " ".join(target) not in rows]
    text = table([Row(*row) for row in found if row], untried)
    (ROOT / "docs/versions.md").write_text(text, encoding="utf-8")


main(sys.argv[1:])
