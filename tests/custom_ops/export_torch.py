"""Packages TorchScript models whose ops are custom: ``export_torch FOLDER OP ...``, under the torch of the ops."""

import sys

import numpy as np
import torch

from neuropod_worker.packagers import create_torchscript_neuropod


class Twice(torch.jit.ScriptModule):
    @torch.jit.script_method
    def forward(self, x):
        return torch.ops.ope_tests.twice(x)


class Crash(torch.jit.ScriptModule):
    @torch.jit.script_method
    def forward(self, x):
        return torch.ops.ope_tests.crash(x)


def main(folder, *ops):
    x = np.float32([1, 2])
    spec = {"dtype": "float32", "shape": (None,)}
    for name, module, sample in (("twice", Twice, {"x": x}), ("crash", Crash, None)):
        create_torchscript_neuropod(
            f"{folder}/{name}",
            name,
            [dict(spec, name="x")],
            [dict(spec, name="y")],
            module=module(),
            custom_ops=ops,
            package_as_zip=False,
            test_input_data=sample,
            test_expected_out=sample and {"y": 2 * x},
        )


if __name__ == "__main__":
    torch.ops.load_library(sys.argv[2])
    main(*sys.argv[1:])
