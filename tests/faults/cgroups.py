"""A memory cgroup of a test's own, of whichever version this machine has."""

import contextlib
import itertools
import os
import time

import pytest

from neuropod_ope.supervisor.memory_group import memory_group

_LIMITS = {1: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), 2: ("memory.max", "memory.swap.max")}
_numbers = itertools.count()


@contextlib.contextmanager
def limited_memory(nbytes):
    """The ``cgroup.procs`` of a group that may have so much memory; skips where none can be made."""
    ours = memory_group(os.getpid())
    if ours is None:
        pytest.skip("there is no memory cgroup here")
    parent = ours.folder if ours.version == 1 else ours.top
    folder = parent / f"neuropod-ope-test-{os.getpid()}-{next(_numbers)}"
    try:
        if ours.version == 2:
            (parent / "cgroup.subtree_control").write_text("+memory")
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made in {parent}: {error}")
    try:
        memory, swap = _LIMITS[ours.version]
        try:
            (folder / memory).write_text(str(nbytes))
        except OSError as error:
            pytest.skip(f"no limit can be set in {folder}: {error}")
        with contextlib.suppress(OSError):  # a kernel without accounts of swap
            (folder / swap).write_text(str(nbytes if ours.version == 1 else 0))
        yield folder / "cgroup.procs"
    finally:
        _remove(folder)


def _remove(folder):
    """Once its last process is gone: the kernel tells nobody when."""
    while True:
        try:
            folder.rmdir()
            return
        except OSError:
            time.sleep(0.01)
