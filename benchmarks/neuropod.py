"""The finished public path, validation included: ``load_neuropod`` and ``infer``."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.contender import Call, Contender
from neuropod_ope import Runtime
from neuropod_worker.packagers import create_python_neuropod

_MODEL = """
def load(data_dir):
    return lambda x: {"y": x + 0}
"""


@contextmanager
def _opened(size_bytes: int, out_of_process: bool) -> Iterator[Call]:
    with tempfile.TemporaryDirectory() as folder:
        source, package = Path(folder) / "source", Path(folder) / "package"
        (source / "plus_zero").mkdir(parents=True)
        (source / "plus_zero" / "serve.py").write_text(_MODEL)
        create_python_neuropod(
            neuropod_path=str(package),
            model_name="plus_zero",
            data_paths=[],
            code_path_spec=[{"python_root": str(source), "dirs_to_package": ["plus_zero"]}],
            entrypoint_package="plus_zero.serve",
            entrypoint="load",
            input_spec=[{"name": "x", "dtype": "float32", "shape": ("n",)}],
            output_spec=[{"name": "y", "dtype": "float32", "shape": ("n",)}],
            package_as_zip=False,
        )
        with Runtime() as runtime:
            model = runtime.load(package, out_of_process=out_of_process)
            yield lambda x: model.infer({"x": x})["y"]


CONTENDERS = (
    Contender("neuropod, out of process", partial(_opened, out_of_process=True)),
    Contender("neuropod, in process", partial(_opened, out_of_process=False)),
)
