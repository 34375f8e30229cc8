"""A control group that may use only so much processor time, of whichever version this machine has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import NotPossible

_TOP = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000


@contextmanager
def limited_processor(processors: float) -> Iterator[None]:
    """This process, and what it starts meanwhile, together. Raises NotPossible with the reason."""
    before, parent = _where_we_are()
    ours = parent / f"neuropod-benchmark-{os.getpid()}"
    quota = int(processors * _PERIOD_US)
    try:
        if parent == _TOP:
            (parent / "cgroup.subtree_control").write_text("+cpu")
        ours.mkdir()
    except OSError as error:
        raise NotPossible(f"no control group can be made in {parent}: {error}") from error
    try:
        if parent == _TOP:
            (ours / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        else:
            (ours / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (ours / "cpu.cfs_quota_us").write_text(str(quota))
        (ours / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            # Not this process alone: the resource tracker of multiprocessing, once started, stays as long as it does.
            for pid in (ours / "cgroup.procs").read_text().split():
                (before / "cgroup.procs").write_text(pid)
    finally:
        ours.rmdir()


def _where_we_are() -> tuple[Path, Path]:
    """The folders of our group and of the one to make another one in: with version 2 only the topmost may have both
    processes and groups that are limited."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            folder = _TOP / controllers / path.strip("/")
            return folder, folder
        if not controllers and (_TOP / "cgroup.controllers").exists():
            return _TOP / path.strip("/"), _TOP
    raise NotPossible("there are no control groups for processor time here")
