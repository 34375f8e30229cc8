"""How many threads a framework may use in a worker, for its own calls that set it."""

import os
from typing import Optional

from neuropod_worker.backends.backend import LoadOptions


def thread_limit(options: LoadOptions) -> Optional[int]:
    """The number that the worker was started with; None where nobody gave one, and in an application's process, whose
    threads are its own affair."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]  # a list is for nested regions
    return int(first) if options.own_process and first.isdigit() and int(first) > 0 else None
