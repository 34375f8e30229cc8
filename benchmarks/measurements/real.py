"""A convolutional network of torch on camera images, in process and out of process; runs where torch is."""

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.measurements.round_trips import durations, percentiles, warm_up
from benchmarks.units import US_PER_MS
from neuropod_ope import Runtime, create_torchscript_neuropod

_CLASSES = 1000
_CHANNELS = (3, 16, 32, 64, 128)
_MOST_CALLS = 1000


class _Classifier(nn.Module):
    """uint8 pixels (height, width, 3) to the scores of classes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for incoming, outgoing in pairwise(_CHANNELS):
            layers += [nn.Conv2d(incoming, outgoing, 3, stride=2, padding=1), nn.BatchNorm2d(outgoing), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.scores = nn.Linear(_CHANNELS[-1], _CLASSES)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        pixels = image.permute(2, 0, 1).unsqueeze(0).float() / 255
        return {"scores": self.scores(self.features(pixels))}


def latencies(way: str, shape: list[int], longest_s: float) -> dict[str, float]:
    """p50 and p99 of a round, in milliseconds. ``way``: "in process", "plain" or "allocated"."""
    torch.manual_seed(0)
    network = _Classifier().eval()
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image))["scores"].numpy()
    with tempfile.TemporaryDirectory(prefix="neuropod-benchmark-") as folder, Runtime() as runtime:
        path = Path(folder) / "classifier.neuropod"
        create_torchscript_neuropod(
            neuropod_path=str(path),
            model_name="classifier",
            module=torch.jit.script(network),
            input_spec=[{"name": "image", "dtype": "uint8", "shape": ("height", "width", 3)}],
            output_spec=[{"name": "scores", "dtype": "float32", "shape": (1, _CLASSES)}],
            package_as_zip=False,
        )
        model = runtime.load(path, out_of_process=way != "in process", visible_gpu=None)
        given = model.allocate_like("image", image) if way == "allocated" else image
        given[...] = image
        if not np.allclose(model.infer({"image": given})["scores"], expected, atol=1e-4):
            raise AssertionError(f"{way}: another answer than torch's own")
        warm_up(lambda: model.infer({"image": given}), longest_s)
        taken = durations(lambda: model.infer({"image": given}), _MOST_CALLS, longest_s)
    return {name: value / US_PER_MS for name, value in percentiles(taken).items()}
