"""The run of a finished package in a process of its own, as its users will run it; a warning where they will not."""

import os
import subprocess
import sys
import tempfile
import warnings
from typing import List

import numpy as np

from neuropod_worker.errors import PackageError
from neuropod_worker.package.package import Package
from neuropod_worker.package.ranges import lies_in
from neuropod_worker.package.reader import read_package
from neuropod_worker.package.requirements import not_installed
from neuropod_worker.package.tensors_file import read_arrays, write_arrays
from neuropod_worker.problem.checks import Arrays

_PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "__main__.py")
_ERROR_TAIL_CHARS = 4000


def run_with_this_interpreter(directory: str, inputs: Arrays) -> Arrays:
    """Run an unpacked package once in a fresh process, which finds the libraries that this one was started with.

    ``PackageError`` carries what a failed run printed. A warning says so where the package asks for others.
    """
    options = {"-E": sys.flags.ignore_environment, "-s": sys.flags.no_user_site}
    with tempfile.TemporaryDirectory() as folder:
        given, got, version = (os.path.join(folder, name) for name in ("inputs.npz", "outputs.npz", "version.txt"))
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
                version,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if run.returncode != 0 or not os.path.exists(version):  # a model may end its process with status 0
            said = run.stdout.decode("utf-8", "replace")[-_ERROR_TAIL_CHARS:]
            message = "the finished package does not run on its test input (exit status {}):\n{}"
            raise PackageError(message.format(run.returncode, said))
        with open(version, encoding="utf-8") as file:
            _warn_of_another_environment(read_package(directory), file.read())
        return read_arrays(got)


def _warn_of_another_environment(package: Package, version: str) -> None:
    others = []
    if not lies_in(version, package.version_range):
        framework = "Python" if package.platform == "python" else package.platform
        others.append("{} {}, not {}".format(framework, version, package.version_range))
    others += not_installed(package.requirements_lock or "")
    if others:
        message = (
            "model {!r} was tested in another environment than its package asks for, which says little about it: "
            "here is {}. Package it in one that is as it should be, or with neuropod_ope, which tests it in one"
        )
        # Where the packager was called, for most of them.
        warnings.warn(message.format(package.name, "; ".join(others)), stacklevel=5)


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
