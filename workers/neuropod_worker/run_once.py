"""One run of one package, as the packagers test theirs: ``run-once PACKAGE INPUTS.npz OUTPUTS.npz VERSION.txt``."""

from typing import Sequence

from neuropod_worker.backends import LoadOptions, load_model
from neuropod_worker.package import read_package
from neuropod_worker.package.tensors_file import read_arrays, write_arrays
from neuropod_worker.problem.checks import check_inputs


def run_once(package_dir: str, inputs_npz: str, outputs_npz: str, version_txt: str) -> None:
    """Load an unpacked package, infer once on GPU 0 (or the CPU); write the outputs and the framework's version.

    Raises whatever reading, loading and the model raise.
    """
    package = read_package(package_dir)
    inputs = read_arrays(inputs_npz)
    check_inputs(package.inputs, inputs)
    model = load_model(package, LoadOptions(visible_gpu=0, own_process=True))
    write_arrays(outputs_npz, model.infer(inputs))
    with open(version_txt, "w", encoding="utf-8") as file:
        file.write(model.platform_version)


def main(arguments: Sequence[str]) -> None:
    package_dir, inputs_npz, outputs_npz, version_txt = arguments
    run_once(package_dir, inputs_npz, outputs_npz, version_txt)
