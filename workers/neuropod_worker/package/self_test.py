"""The run of a finished package in a process of its own, as its users will run it."""

import os
import subprocess
import sys
import tempfile
from typing import List

import numpy as np

from neuropod_worker.errors import PackageError
from neuropod_worker.package.tensors_file import read_arrays, write_arrays
from neuropod_worker.problem.checks import Arrays

_PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "__main__.py")
_ERROR_TAIL_CHARS = 4000


def run_with_this_interpreter(directory: str, inputs: Arrays) -> Arrays:
    """Run an unpacked package once in a fresh process, which finds the libraries that this one was started with.

    ``PackageError`` carries what a failed run printed.
    """
    options = {"-E": sys.flags.ignore_environment, "-s": sys.flags.no_user_site}
    with tempfile.TemporaryDirectory() as folder:
        given, got = os.path.join(folder, "inputs.npz"), os.path.join(folder, "outputs.npz")
        write_arrays(given, inputs)
        run = subprocess.run(
            [
                sys.executable,
                *(option for option, is_set in options.items() if is_set),
                _PROGRAM,
                "run-once",
                directory,
                given,
                got,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if run.returncode != 0:
            said = run.stdout.decode("utf-8", "replace")[-_ERROR_TAIL_CHARS:]
            message = "the finished package does not run on its test input (exit status {}):\n{}"
            raise PackageError(message.format(run.returncode, said))
        return read_arrays(got)


def compare(outputs: Arrays, expected: Arrays) -> None:
    """Raise ``PackageError`` that shows what differs, if anything does."""
    found = differences(outputs, expected)
    if found:
        raise PackageError("the package's outputs are not the expected ones:\n" + "\n".join(found))


def differences(outputs: Arrays, expected: Arrays) -> List[str]:
    """A sentence for each expected output that is missing or another: numbers by ``allclose``, strings exactly."""
    found = []
    for name, want in sorted(expected.items()):
        got = outputs.get(name)
        if got is None:
            found.append("{!r} is expected, but the model gives only {}".format(name, sorted(outputs)))
        elif want.shape != got.shape:
            found.append("{!r} has shape {}, expected {}".format(name, got.shape, want.shape))
        elif not _close(got, want):
            found.append("{!r} is\n{}\nexpected\n{}".format(name, got, want))
    return found


def _close(got: np.ndarray, want: np.ndarray) -> bool:
    if got.dtype.kind == "U" or want.dtype.kind == "U":
        return bool(np.array_equal(got, want))
    return bool(np.allclose(got, want, equal_nan=True))
