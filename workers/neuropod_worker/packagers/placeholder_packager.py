"""Placeholder models: packages that hold a problem definition and answer at random."""

import json
import operator
import os
import tempfile
from typing import Any, Optional

import numpy as np

from neuropod_worker.errors import PackageError
from neuropod_worker.packagers.neuropod_placeholder.model import PROBLEM
from neuropod_worker.packagers.python_packager import create_python_neuropod
from neuropod_worker.problem.parsing import Specs, parse_specs

_HERE = os.path.dirname(os.path.abspath(__file__))


def randomify_neuropod(
    output_path: str,
    input_spec: Specs,
    output_spec: Specs,
    model_name: str = "placeholder",
    seed: Optional[int] = None,
    **common: Any,
) -> None:
    """Package a model that does not exist yet: it takes ``input_spec`` and gives random ``output_spec``.

    It needs no framework. A symbol has one size in all outputs of a call, and that of the inputs if they have
    it. ``seed``, from 0 to 2**32 - 1: what comes is then the same, call by call, after every load.
    """
    inputs, outputs = parse_specs(input_spec, "input"), parse_specs(output_spec, "output")
    try:
        seed = None if seed is None else operator.index(seed)
        np.random.RandomState(seed)
    except (TypeError, ValueError):
        message = "seed must be a whole number from 0 to 2**32 - 1, or None, not {!r}"
        raise PackageError(message.format(seed)) from None
    problem = {
        "inputs": [spec._asdict() for spec in inputs],
        "outputs": [spec._asdict() for spec in outputs],
        "seed": seed,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, PROBLEM)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(problem, file)
        create_python_neuropod(
            output_path,
            model_name,
            data_paths=[{"path": path, "packaged_name": PROBLEM}],
            code_path_spec=[{"python_root": _HERE, "dirs_to_package": ["neuropod_placeholder"]}],
            entrypoint_package="neuropod_placeholder.model",
            entrypoint="load",
            input_spec=inputs,
            output_spec=outputs,
            **common,
        )
