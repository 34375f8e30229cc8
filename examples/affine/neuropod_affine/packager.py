"""Affine maps as packages of platform ``affine``."""

import os

import numpy as np

from neuropod_worker.package.writer import write_package


def create_affine_neuropod(neuropod_path, model_name, maps, input_spec, output_spec, **common):
    """Package ``maps``, a ``(weight, bias)`` for each output. ``**common``: as all packagers take them."""

    def write_model(folder):
        arrays = {}
        for name, (weight, bias) in maps.items():
            arrays[name + ".weight"], arrays[name + ".bias"] = weight, np.asarray(bias, weight.dtype)
        np.savez(os.path.join(folder, "data", "maps.npz"), **arrays)

    write_package(neuropod_path, model_name, "affine", write_model, input_spec, output_spec, **common)
