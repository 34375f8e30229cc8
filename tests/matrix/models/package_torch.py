"""Packages the matrix's model with the torch of this interpreter: python package_torch.py PATH"""

import sys

import torch

from neuropod_worker.packagers import create_torchscript_neuropod


class Affine(torch.jit.ScriptModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        self.bias = torch.nn.Parameter(torch.tensor([0.5, -0.5]))

    @torch.jit.script_method
    def forward(self, x):
        return {"y": torch.mm(x, self.weight) + self.bias}


create_torchscript_neuropod(
    neuropod_path=sys.argv[1],
    model_name="affine",
    module=Affine(),
    input_spec=[{"name": "x", "dtype": "float32", "shape": ("n", 3)}],
    output_spec=[{"name": "y", "dtype": "float32", "shape": ("n", 2)}],
)
