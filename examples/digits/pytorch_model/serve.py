"""The entry point of the packaged PyTorch model: what runs in the worker."""

import os

import torch

from .network import Network


def load(data_dir):
    """Called once, with the path of the packaged data; gives what is called with the inputs."""
    network = Network()
    network.load_state_dict(torch.load(os.path.join(data_dir, "weights.pt")))
    network.eval()

    def infer(image):
        with torch.no_grad():
            return {"probability": network(torch.from_numpy(image)).numpy()}

    return infer
