"""Which GPU a model is given."""

import glob
import os
from typing import Optional

from neuropod_worker.errors import LoadError

_MESSAGE = "there is no GPU {}; {} {}, counted from 0. Choose one with visible_gpu, or None for the CPU"


def chosen_gpu(wanted: Optional[int], framework: str, seen: int, devices: str = "/dev/nvidia[0-9]*") -> Optional[int]:
    """The index of the GPU among those that the framework sees, ``None`` for the CPU, where it sees none.

    Raises ``LoadError`` for one beyond the last, also where ``CUDA_VISIBLE_DEVICES``, by which a worker is given
    its only GPU, names it: frameworks then see none at all. ``devices`` are the device files of GPUs.
    """
    if wanted is None:
        return None
    if seen:
        if not 0 <= wanted < seen:
            raise LoadError(_MESSAGE.format(wanted, framework + " sees", seen))
        return wanted
    there, visible = len(glob.glob(devices)), os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if there and visible.isdigit() and int(visible) >= there:
        raise LoadError(_MESSAGE.format(visible, "this machine has", there))
    return None
