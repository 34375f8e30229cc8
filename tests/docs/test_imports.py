"""Which part of the project may import which."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

SOURCES = ("index_options", "redaction")  # of packages: read where a lock is compiled, too

# Each may import itself as well, and the errors.
MAY_IMPORT = {
    "neuropod_worker/wire": (),
    "neuropod_worker/problem": (),
    "neuropod_worker/shm": ("neuropod_worker.wire", "neuropod_worker.problem"),
    "neuropod_worker/package": ("neuropod_worker.problem",),
    "neuropod_worker/backends": ("neuropod_worker.package", "neuropod_worker.problem"),
    "neuropod_worker": ("neuropod_worker",),
    "neuropod_ope/environment": ("neuropod_worker.backends", *(f"neuropod_worker.package.{one}" for one in SOURCES)),
    "neuropod_ope/supervisor": ("neuropod_worker",),
    "neuropod_ope/client": ("neuropod_worker", "neuropod_ope.supervisor", "neuropod_ope.capsule"),
}


def imported(folder):
    """The names of ours that the modules of a folder import, and those of everything else."""
    pattern = re.compile(r"^\s*(?:from|import) ([\w.]+)", re.MULTILINE)
    names = {name for path in folder.rglob("*.py") for name in pattern.findall(path.read_text(encoding="utf-8"))}
    ours = {name for name in names if name.partition(".")[0] in ("neuropod_ope", "neuropod_worker")}
    return ours, names - ours


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_it_may(part):
    ours, _ = imported(ROOT / "workers" / part if part.startswith("neuropod_worker") else ROOT / part)
    own = part.replace("/", ".")
    allowed = (own, own.partition(".")[0] + ".errors", "neuropod_worker.errors", *MAY_IMPORT[part])
    assert ours
    assert not {name for name in ours if not any(name == one or name.startswith(one + ".") for one in allowed)}


def test_the_wire_does_no_io():
    _, others = imported(ROOT / "workers/neuropod_worker/wire")
    assert others <= {"typing", "struct", "msgpack"}
