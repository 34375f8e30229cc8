"""Neuropod packages made of a few lines of code, for as long as they are measured."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuropod_worker.packagers import create_python_neuropod


@contextmanager
def packaged(code: str, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> Iterator[Path]:
    """The path of a package whose entry point is ``load`` of this code."""
    with tempfile.TemporaryDirectory(prefix="neuropod-benchmark-") as folder:
        source, package = Path(folder) / "source", Path(folder) / "package"
        (source / "measured").mkdir(parents=True)
        (source / "measured" / "serve.py").write_text(code)
        create_python_neuropod(
            neuropod_path=str(package),
            model_name="measured",
            data_paths=[],
            code_path_spec=[{"python_root": str(source), "dirs_to_package": ["measured"]}],
            entrypoint_package="measured.serve",
            entrypoint="load",
            input_spec=list(inputs),
            output_spec=list(outputs),
            package_as_zip=False,
        )
        yield package
