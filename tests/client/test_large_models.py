"""A model of more than 2 GB, where sizes and offsets no longer fit into 32 bits with a sign."""

import shutil

import numpy as np
import pytest
from environments_for_tests import locked_environment, run_with

from neuropod_ope import Runtime

PACKAGES = """
import sys, torch
from neuropod_worker.packagers import create_torchscript_neuropod
class Large(torch.jit.ScriptModule):
    def __init__(self):
        super().__init__()
        weight = torch.zeros(2**31 + 4096, dtype=torch.uint8)
        weight[0], weight[-1] = 1, 2
        self.register_buffer("weight", weight)
    @torch.jit.script_method
    def forward(self, x):
        return self.weight[x]
x, y = ([{"name": name, "dtype": dtype, "shape": (None,)}] for name, dtype in (("x", "int64"), ("y", "uint8")))
create_torchscript_neuropod(sys.argv[1], "large", x, y, module=Large())
"""


@pytest.fixture
def roomy(tmp_path):
    """A folder that is gone after the test: pytest keeps its own for several runs."""
    needed = 10 * 2**30  # the package, two steps of packaging, and the unpacked model
    if shutil.disk_usage(tmp_path).free < needed:
        pytest.skip("this machine has no 10 GiB to spare")
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.frameworks
def test_a_torchscript_model_of_more_than_two_gigabytes_is_packaged_and_runs(roomy):
    python = locked_environment("torch-2.13.0-py311")
    package = roomy / "large.neuropod"
    (roomy / "package.py").write_text(PACKAGES)
    run_with(python, roomy / "package.py", package)
    assert package.stat().st_size > 2**31
    with Runtime(cache_dir=roomy / "cache") as runtime, runtime.load(package, environment=python) as model:
        answer = model.infer({"x": np.array([0, 1, -1])})["y"]
    assert answer.tolist() == [1, 0, 2]
