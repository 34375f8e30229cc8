"""PyTorch models as Python code, trained under one torch and run under it, beside others of equal names."""

import numpy as np
import pytest
from environments_for_tests import locked_environment, run_with
from sample_packages import write_files

from neuropod_ope import Runtime

pytestmark = pytest.mark.frameworks

# As in a training script: the network is a class of the package's own, and all of it is pickled.
MODEL = {
    "net/layers.py": "import torch\nclass Scale(torch.nn.Module):\n"
    "    def __init__(self, factor):\n        super().__init__()\n"
    "        self.factor = torch.nn.Parameter(torch.tensor([float(factor)]))\n"
    "    def forward(self, x):\n        return x * self.factor\n",
    "net/network.py": "from .layers import Scale\n",
    "net/serve.py": "import io, os, torch, numpy as np\nfrom .network import Scale\n"
    "whole = {'weights_only': False} if int(torch.__version__.split('.')[0]) > 1 else {}\n"
    "def load(data):\n"
    "    model = torch.load(os.path.join(data, 'model.pt'), **whole)\n"
    "    def run(x):\n"
    "        again = io.BytesIO()\n        torch.save(model, again)\n        again.seek(0)\n"
    "        with torch.no_grad():\n            y = torch.load(again, **whole)(torch.from_numpy(x))\n"
    "        return {'y': y.numpy(), 'torch': np.array(torch.__version__)}\n"
    "    return run\n",
    "train.py": "import sys, torch\nfrom net.network import Scale\n"
    "from neuropod_worker.packagers import create_pytorch_neuropod\n"
    "path, factor, pin = sys.argv[1:]\ntorch.save(Scale(factor), path + '.pt')\n"
    "x, y, version = ({'name': n, 'dtype': d, 'shape': s} for n, d, s in\n"
    "    (('x', 'float32', (None,)), ('y', 'float32', (None,)), ('torch', 'string', ())))\n"
    "create_pytorch_neuropod(path, 'scaling', [{'path': path + '.pt', 'packaged_name': 'model.pt'}],\n"
    "    [{'python_root': sys.path[0], 'dirs_to_package': ['net']}], 'net.serve', 'load', [x], [y, version],\n"
    "    requirements=[pin], test_input_data={'x': torch.ones(2).numpy()})\n",
}
X = np.float32([1, 2])


@pytest.fixture
def trained(tmp_path):
    source = write_files(tmp_path / "source", MODEL)

    def trained(lock, factor):
        path = tmp_path / f"{lock}-{factor}.neuropod"
        pin = "torch==" + lock.split("-")[1]
        run_with(locked_environment(lock), source / "train.py", path, factor, pin)
        return path

    return trained


def test_the_oldest_and_the_newest_torch_answer_with_modules_of_equal_names(trained):
    locks = {"torch-1.1.0-py36": 2, "torch-2.13.0-py311": 3}
    with Runtime() as runtime:
        models = {lock: runtime.load(trained(lock, factor), out_of_process=True) for lock, factor in locks.items()}
        for _ in range(2):
            for lock, factor in locks.items():
                outputs = models[lock].infer({"x": X})
                assert outputs["y"].tolist() == (X * factor).tolist()
                assert str(outputs["torch"]).split("+")[0] == lock.split("-")[1]


@pytest.mark.parametrize("lock", ["torch-1.1.0-py36", "torch-2.13.0-py311"])
def test_models_of_equal_names_share_a_worker(trained, lock):
    with Runtime() as runtime, runtime.worker(locked_environment(lock)) as worker:
        models = [worker.load(trained(lock, factor)) for factor in (2, 3)]
        for _ in range(2):
            assert [model.infer({"x": X})["y"].tolist() for model in models] == [[2, 4], [3, 6]]
