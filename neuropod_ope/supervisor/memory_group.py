"""What the kernel's memory cgroup of a process says: how many of its processes were killed because memory ran out,
and how much memory it may have.

Expects Linux with cgroups of version 1 or 2 under their usual mounts; elsewhere there is no group, and nothing is
known. Reads only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_UNLIMITED = 2**62  # version 1 says it as the largest number of pages

# By version of cgroups: the file that counts kills, the one that holds the limit.
_FILES = {1: ("memory.oom_control", "memory.limit_in_bytes"), 2: ("memory.events", "memory.max")}


class MemoryGroup(NamedTuple):
    """One process's group: ``folder`` and all that it lies in, up to the mount ``top``."""

    version: int
    folder: Path
    top: Path

    def kills(self) -> int | None:
        """How often memory ran out for a process of this group and the kernel killed it; None: it does not say."""
        for folder in self._upwards():
            text = _text(folder / _FILES[self.version][0])
            for line in text.splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        return None

    def limit(self) -> int | None:
        """Bytes that the group may have, the least of its own limit and those above it; None: no limit."""
        texts = [_text(folder / _FILES[self.version][1]).strip() for folder in self._upwards()]
        limits = [int(text) for text in texts if text.isdigit() and int(text) < _UNLIMITED]
        return min(limits, default=None)

    def _upwards(self) -> Iterator[Path]:
        folder = self.folder
        yield folder
        while folder != self.top:
            folder = folder.parent
            yield folder


def memory_group(pid: int, proc: Path = Path("/proc")) -> MemoryGroup | None:
    """The memory cgroup of a process; None where there is none."""
    paths: dict[int, str] = {}
    for line in _text(proc / str(pid) / "cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            paths[1] = path
        elif number == "0":
            paths[2] = path
    groups = []
    for line in _text(proc / "self" / "mountinfo").splitlines():
        mount, _, kind = line.partition(" - ")
        root, mounted_at = mount.split()[3:5]
        filesystem, *options = kind.split()
        version = {"cgroup": 1, "cgroup2": 2}.get(filesystem)
        if version in paths and (version == 2 or "memory" in options[-1].split(",")):
            relative = os.path.relpath(paths[version], root)
            if relative.startswith(".."):  # as seen from another namespace
                relative = paths[version].lstrip("/")
            groups.append(MemoryGroup(version, Path(mounted_at, relative), Path(mounted_at)))
    return min(groups, default=None)  # both at once: memory belongs to version 1


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
