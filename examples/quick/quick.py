"""One application, two models of the same problem, two numpy versions that cannot be imported together.

    python examples/quick/quick.py

Exits with 1 unless both versions ran. For real frameworks see examples/digits.
"""

import logging
import sys
import tempfile
from pathlib import Path

import numpy as np

from neuropod_ope import NeuropodError, Runtime
from neuropod_worker.packagers import create_python_neuropod

HERE = Path(__file__).resolve().parent

INPUTS = [{"name": "vectors", "dtype": "float32", "shape": ("count", "size")}]
OUTPUTS = [
    {"name": "length", "dtype": "float32", "shape": ("count",)},
    {"name": "numpy_version", "dtype": "string", "shape": ()},
]
PINS = {"lengths_numpy1": "numpy==1.26.4", "lengths_numpy2": "numpy==2.1.3"}


def package(name: str, path: Path) -> None:
    create_python_neuropod(
        neuropod_path=str(path),
        model_name=name,
        code_path_spec=[{"python_root": str(HERE), "dirs_to_package": [name]}],
        data_paths=[],
        entrypoint_package=f"{name}.serve",
        entrypoint="load",
        requirements=PINS[name],
        input_spec=INPUTS,
        output_spec=OUTPUTS,
    )


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print("Downloads about 20 MB for each numpy that uv does not have in its cache.", flush=True)
    vectors = np.float32([[3, 4], [5, 12], [8, 15]])
    versions = set()
    lines = []
    with tempfile.TemporaryDirectory() as folder, Runtime() as runtime:
        for name in PINS:
            path = Path(folder) / f"{name}.neuropod"
            package(name, path)
            try:
                model = runtime.load(path, out_of_process=True)
                outputs = model.infer({"vectors": vectors})
            except NeuropodError as error:
                lines.append(f"{name:<16}did not run: {error}")
                continue
            (worker,) = model.workers
            version = str(outputs["numpy_version"])
            versions.add(version)
            lines.append(
                f"{name:<16}{version:<8}{worker.python_version:<8}{worker.pid:<8}{outputs['length'].tolist()}"
            )
    print(f"\n{'MODEL':<16}{'NUMPY':<8}{'PYTHON':<8}{'WORKER':<8}LENGTHS OF {vectors.tolist()}")
    print("\n".join(lines))
    return 0 if len(versions) == len(PINS) else 1


if __name__ == "__main__":
    sys.exit(main())
