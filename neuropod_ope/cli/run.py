"""``neuropod-ope run``: one call of a model, on given inputs or on the package's own test data."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from neuropod_ope.cli.arguments import seconds
from neuropod_ope.environment import default_cache_dir
from neuropod_ope.errors import PackageError
from neuropod_ope.runtime import Runtime
from neuropod_worker.package.self_test import differences
from neuropod_worker.package.tensors_file import (
    LEGACY_TEST_DATA,
    SampleData,
    read_arrays,
    read_test_data,
    write_arrays,
)

_SHOWN_ELEMENTS = 40  # of a larger array numpy shows the edges
_INDENT = "    "


def add_run_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = subparsers.add_parser("run", help="call a model once and show what comes")
    command.add_argument("package", help="a package: folder or zip file")
    command.add_argument("--inputs", metavar="X.npz", help="default: the package's own test data")
    command.add_argument(
        "--allow-pickle",
        action="store_true",
        help="also take the test data of old packages, a pickle: that runs code of whoever made the package",
    )
    command.add_argument("--outputs", metavar="Y.npz", help="write the outputs to this file")
    where = command.add_mutually_exclusive_group()
    where.add_argument("--in-process", dest="out_of_process", action="store_false", help="or fail")
    where.add_argument(
        "--out-of-process", dest="out_of_process", action="store_true", help="default: only if it has to"
    )
    command.add_argument("--python", metavar="PATH", help="run the worker with this existing interpreter")
    command.add_argument("--timeout", type=seconds, metavar="S", help="seconds that the call may take")
    command.add_argument("--cache-dir", type=Path, default=default_cache_dir(), help="default: %(default)s")
    command.set_defaults(run=_run, refuse=command.error, out_of_process=None)


def _run(arguments: argparse.Namespace) -> int:
    for option in ("python", "timeout"):
        if arguments.out_of_process is False and getattr(arguments, option) is not None:
            arguments.refuse(f"--{option} needs a worker: leave --in-process out")
    with Runtime(cache_dir=arguments.cache_dir) as runtime:
        model = runtime.load(
            arguments.package,
            out_of_process=arguments.out_of_process,
            environment=arguments.python,
            timeout=arguments.timeout,
            lazy=True,
        )
        data = _data(arguments.inputs, arguments.package, model.path, arguments.allow_pickle)
        outputs = model.infer(data.inputs)
        for worker in model.workers:
            what = f"Python {worker.python_version}"
            if model.platform != "python":
                what += f", {model.platform} {worker.platform_version}"
            print(f"ran in worker {worker.pid}: {what}, started in {worker.startup}")
    differing = _show(outputs, data.outputs)
    if arguments.outputs is not None:
        write_arrays(arguments.outputs, outputs)
    return 1 if differing else 0


def _data(inputs: str | None, package: str, opened: str, allow_pickle: bool) -> SampleData:
    if inputs is not None:
        return SampleData(read_arrays(inputs), {})
    data = read_test_data(opened, allow_pickle)
    if data is None:
        hint = "inputs: --inputs FILE.npz"
        if os.path.exists(os.path.join(opened, LEGACY_TEST_DATA)):
            hint = (
                f"--allow-pickle to take {LEGACY_TEST_DATA}, which runs code of whoever made the package, or {hint}"
            )
        raise PackageError(f"{package} has no test data to run on; give {hint}", package)
    return data


def _show(outputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    """Print the outputs, each with a verdict if one is expected. Whether any is not what is expected."""
    for name, array in outputs.items():
        print(f"{name}: {_text(array)}")
    differing = differences(outputs, expected)
    for sentence in differing:
        print(f"NOT AS EXPECTED: {sentence}")
    if expected and not differing:
        print("The outputs are as the package expects.")
    return bool(differing)


def _text(array: np.ndarray) -> str:
    values = np.array2string(array, threshold=_SHOWN_ELEMENTS, precision=6, suppress_small=True, prefix=_INDENT)
    return f"{array.dtype} {array.shape}\n{_INDENT}{values}"
