"""Packages for tests, made by the real packagers from a few lines of code. Runs on Python 3.6 as well."""

from neuropod_worker.package import read_package
from neuropod_worker.packagers import create_python_neuropod

FLOATS_IN = [{"name": "x", "dtype": "float32", "shape": (None,)}]
FLOATS_OUT = [{"name": "y", "dtype": "float32", "shape": (None,)}]

DOUBLING = """
def load(data_dir):
    return lambda x: {"y": x * 2}
"""


def write_files(folder, files):
    """Write text files by relative path and return the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def python_neuropod(tmp_path, files, **parameters):
    """Package a folder ``model`` with these files, entry point ``model.main:load``; return the path."""
    root = tmp_path / "source"
    write_files(root / "model", files)
    arguments = {
        "neuropod_path": str(tmp_path / "packaged"),
        "model_name": "sample",
        "data_paths": [],
        "code_path_spec": [{"python_root": str(root), "dirs_to_package": ["model"]}],
        "entrypoint_package": "model.main",
        "entrypoint": "load",
        "input_spec": FLOATS_IN,
        "output_spec": FLOATS_OUT,
        "package_as_zip": False,
    }
    arguments.update(parameters)
    create_python_neuropod(**arguments)
    return arguments["neuropod_path"]


def python_package(tmp_path, files, **parameters):
    """The same, opened."""
    return read_package(python_neuropod(tmp_path, files, **parameters))
