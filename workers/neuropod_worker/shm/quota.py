"""How much processor time this process may use: a container's quota, which ``os.cpu_count`` knows nothing of."""

import os
from typing import Optional

_CGROUPS = "/sys/fs/cgroup"
_NO_GROUP = (OSError, ValueError)  # no such file; "max", -1 or nothing at all where there is no limit


def cpu_quota(cgroups: str = _CGROUPS, membership: str = "/proc/self/cgroup") -> Optional[float]:
    """The smallest quota of this process's control group and those above it, in processors; None without one."""
    quotas = []
    try:
        with open(membership) as lines:
            groups = [line.rstrip("\n").split(":", 2) for line in lines]
    except OSError:
        return None
    for _, controllers, path in groups:
        if not controllers:
            root, read = cgroups, _quota_v2
        elif "cpu" in controllers.split(","):
            root, read = os.path.join(cgroups, controllers), _quota_v1
        else:
            continue
        # Inside a container the path may be that of the host, which is not there: then only the root is.
        names = path.strip("/").split("/")
        folders = [os.path.join(root, *names[:depth]) for depth in range(len(names) + 1)]
        quotas += [quota for quota in map(read, folders) if quota is not None]
    return min(quotas) if quotas else None


def _quota_v2(folder: str) -> Optional[float]:
    try:
        with open(os.path.join(folder, "cpu.max")) as file:
            quota, period = file.read().split()
        return int(quota) / int(period)
    except _NO_GROUP:
        return None


def _quota_v1(folder: str) -> Optional[float]:
    try:
        with open(os.path.join(folder, "cpu.cfs_quota_us")) as file:
            quota = int(file.read())
        with open(os.path.join(folder, "cpu.cfs_period_us")) as file:
            return quota / int(file.read()) if quota > 0 else None
    except _NO_GROUP:
        return None
