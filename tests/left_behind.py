"""What this process and its workers hold, so that a test can compare before with after."""

import collections
import contextlib
import gc
import os
import re
import select
import threading
import time

import psutil


def kernel_objects():
    """What a test may not leave behind: children, descriptors, threads, shared memory."""
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    return {
        "children": children,
        "descriptors": descriptors(),
        "threads": thread_names(),
        "/dev/shm": named_segments(),
    }


def thread_names():
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith("pytest_timeout")}


def descriptors():
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
    return found


def shared_memory(pid="self"):
    """Bytes of shared memory that a process has touched and that are not given back."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssShmem"))


def named_segments():
    return {name for name in os.listdir("/dev/shm") if name.startswith("neuropod_ope")}


def held():
    """How many things of each kind this process holds: the same before and after a worker was replaced."""
    kinds = collections.Counter(re.sub(r"neuropod_ope-\w+|\d+", "N", target) for _, target in descriptors())
    with open("/proc/self/maps") as maps:
        segments = sum("/dev/shm/" in line or "memfd:neuropod_ope" in line for line in maps)
    return {
        "descriptors": kinds,
        "mapped segments": segments,
        "threads": thread_names(),
        "/dev/shm": named_segments(),
    }


def held_at_rest(expected, seconds=10.0):
    """What is held, as soon as that is what was expected, or after so long: a thread may be about to let go."""
    until = time.monotonic() + seconds
    while True:
        gc.collect()
        now = held()
        if now == expected or time.monotonic() > until:
            return now
        os.sched_yield()


def marked_processes(marker):
    """Pids of the live processes that have this text in their environment, whoever their parent is by now."""
    found = set()
    for pid in psutil.pids():
        # Empty for a zombie.
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as environ:
            if marker.encode() in environ.read():
                found.add(pid)
    return found


def wait_ended(pids, seconds=10.0):
    """Until these processes have ended, whoever reaps them. AssertionError after so long."""
    until = time.monotonic() + seconds
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            try:
                ended, _, _ = select.select([pidfd], [], [], max(until - time.monotonic(), 0.0))
                assert ended, f"process {pid} lives on: {psutil.Process(pid).cmdline()}"
            finally:
                os.close(pidfd)


def wait_none_marked(marker, but=frozenset()):
    """Until no process has this text in its environment, but for these. One may just be about to become a worker."""
    while pids := marked_processes(marker) - but:
        wait_ended(pids)
