"""One application, several models of the same problem, each of a framework that cannot be imported beside another.

    python examples/digits/demo.py

Trains each model in an environment of its own, then loads all of them out of process, side by side, and
measures them with the same code. Exits with 1 if fewer than two framework versions ran.
"""

import argparse
import logging
import os
import platform
import shutil
import sys
from pathlib import Path

from metrics import accuracy, median_call_us
from problem import Digits, read_held_out_digits
from solutions import SKLEARN, SOLUTIONS, Solution
from training import TrainingFailed, is_built, run_in_environment

from neuropod_ope import Neuropod, NeuropodError, Runtime

FEWEST_FRAMEWORK_VERSIONS = 2
HEADER = ("FRAMEWORK", "PLATFORM", "PYTHON", "WORKER", "ACCURACY", "P50 OF A CALL")


def main() -> int:
    parser = argparse.ArgumentParser(description="Many frameworks in one application.")
    parser.add_argument("--packages", type=Path, default=Path("build/digits"), help="default: %(default)s")
    folder = parser.parse_args().packages.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with Runtime() as runtime:
        announce_downloads(runtime)
        digits_file = folder / "digits.npz"
        print("exporting the digits", flush=True)
        try:
            run_in_environment(SKLEARN, runtime.policy, "export_digits.py", digits_file)
        except (NeuropodError, TrainingFailed) as error:
            print(f"There are no digits to recognise: {error}", file=sys.stderr)
            return 1
        packages = [train(solution, runtime, digits_file, folder) for solution in SOLUTIONS]
        return serve(packages, runtime, read_held_out_digits(digits_file))


def announce_downloads(runtime: Runtime) -> None:
    missing = [one for one in SOLUTIONS if not is_built(one.requirement, runtime.policy)]
    if not missing:
        print("All environments are there already: nothing is to be downloaded.")
        return
    print("To be downloaded, less what uv already has in its cache:")
    for one in missing:
        print(f"  {one.framework:<20}about {one.download_gb:.1f} GB")
    print(f"  {'in all':<20}about {sum(one.download_gb for one in missing):.1f} GB", flush=True)


def train(solution: Solution, runtime: Runtime, digits_file: Path, folder: Path) -> Path | str:
    """Train and package a model in its own environment: gives the package, or why there is none."""
    package = folder / f"{solution.framework.replace(' ', '-')}.neuropod"
    print(f"training with {solution.framework}", flush=True)
    try:
        run_in_environment(solution.requirement, runtime.policy, *solution.script, digits_file, package)
    except (NeuropodError, TrainingFailed) as error:
        return str(error)
    return package


def serve(packages: list[Path | str], runtime: Runtime, digits: Digits) -> int:
    """The application: load what could be packaged, measure it, print the table, give the exit status."""
    models = [load(package, runtime) if isinstance(package, Path) else package for package in packages]
    rows = [measure(solution, model, digits) for solution, model in zip(SOLUTIONS, models, strict=True)]
    frameworks = [name for name in ("torch", "tensorflow", "sklearn") if name in sys.modules]
    print(
        f"\nThis application: pid {os.getpid()}, Python {platform.python_version()},"
        f" frameworks imported: {', '.join(frameworks) or 'none'}\n"
    )
    ran = [row for row in rows if isinstance(row, tuple)]
    widths = [max(map(len, column)) for column in zip(HEADER, *ran, strict=True)]
    print_row(HEADER, widths)
    for solution, row in zip(SOLUTIONS, rows, strict=True):
        if isinstance(row, tuple):
            print_row(row, widths)
        else:
            print(f"{solution.framework:<{widths[0]}}  did not run: {row}")
    return 0 if len({row[0] for row in ran}) >= FEWEST_FRAMEWORK_VERSIONS else 1


def load(package: Path, runtime: Runtime) -> Neuropod | str:
    try:
        return runtime.load(package, out_of_process=True)
    except NeuropodError as error:
        return str(error)


def measure(solution: Solution, model: Neuropod | str, digits: Digits) -> tuple[str, ...] | str:
    """A row of the table, or why there is none."""
    if isinstance(model, str):
        return model
    try:
        correct, p50 = accuracy(model, digits), median_call_us(model, digits)
    except NeuropodError as error:
        return str(error)
    (worker,) = model.workers
    framework = solution.framework
    if solution.requirement.platform == framework.split()[0] or model.platform == "torchscript":
        # What the worker really imported. What Python code imports, only its lock says.
        framework = f"{framework.split()[0]} {worker.platform_version}"
    pid, python = str(worker.pid), worker.python_version
    return framework, model.platform, python, pid, f"{correct:.1%}", f"{p50:.0f} µs"


def print_row(cells: tuple[str, ...], widths: list[int]) -> None:
    print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
