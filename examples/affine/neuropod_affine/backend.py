"""Platform ``affine``: ``0/data/maps.npz`` holds ``weight`` and ``bias`` of a map for each output."""

import numpy as np

from neuropod_affine import __version__
from neuropod_worker.backends import Backend
from neuropod_worker.errors import PackageError


class AffineBackend(Backend):
    version = __version__

    def __init__(self, maps):
        self._maps = maps

    def infer(self, inputs, requested):
        """Arrays by name in, arrays by name out; only what is requested need be computed."""
        names = self._maps if requested is None else requested
        return {name: inputs["x"] @ self._maps[name][0] + self._maps[name][1] for name in names}


def load(package, options):
    """What the entry point names: give a Backend, or raise."""
    path = package.file("data", "maps.npz")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return AffineBackend(
                {s.name: (arrays[s.name + ".weight"], arrays[s.name + ".bias"]) for s in package.outputs}
            )
    except (OSError, KeyError) as error:
        raise PackageError(f"{path} is missing or lacks a map: {error}", path) from error
