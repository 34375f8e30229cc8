"""Trains the network and packages it; the same script under torch 1.1.0 and under torch 2.13.0.

    python train_torch.py torchscript DIGITS.npz PACKAGE
    python train_torch.py python DIGITS.npz PACKAGE

Runs in an environment with some torch and numpy, nothing else.
"""

import os
import sys
import tempfile

import torch
from problem import INPUTS, OUTPUTS, read_training_digits
from pytorch_model.network import Network

from neuropod_worker.packagers import create_pytorch_neuropod, create_torchscript_neuropod

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCHS = 60
BATCH = 64


def train(digits):
    torch.manual_seed(0)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
    images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(labels)).split(BATCH):
            loss = torch.nn.functional.nll_loss(network(images[chosen]).log(), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def package_as_torchscript(network, sample, path):
    """The traced network, for the torch that it was trained with."""
    create_torchscript_neuropod(
        neuropod_path=path,
        model_name="digits_torchscript",
        module=torch.jit.trace(network, torch.from_numpy(sample)),
        platform_version_semver=torch.__version__.split("+")[0],
        input_spec=INPUTS,
        output_spec=OUTPUTS,
        test_input_data={"image": sample},
    )


def package_as_python(network, sample, path):
    """The code and the weights of the network; the lock says with which torch they run."""
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(HERE, "pytorch.lock")) as lock:
        weights = os.path.join(folder, "weights.pt")
        torch.save(network.state_dict(), weights)
        create_pytorch_neuropod(
            neuropod_path=path,
            model_name="digits_pytorch",
            code_path_spec=[{"python_root": HERE, "dirs_to_package": ["pytorch_model"]}],
            data_paths=[{"path": weights, "packaged_name": "weights.pt"}],
            entrypoint_package="pytorch_model.serve",
            entrypoint="load",
            requirements=lock.read(),
            input_spec=INPUTS,
            output_spec=OUTPUTS,
            test_input_data={"image": sample},
        )


def main(kind, digits_path, package_path):
    digits = read_training_digits(digits_path)
    package = {"torchscript": package_as_torchscript, "python": package_as_python}[kind]
    package(train(digits), digits.images[:2], package_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
