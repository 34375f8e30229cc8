"""``0/config.json``: what a package says to its platform. Whatever is wrong with it is a ``PackageError`` that
names the file."""

import os
from typing import Any, Dict, NamedTuple, Tuple

from neuropod_worker.errors import PackageError
from neuropod_worker.package.config import read_json

PLATFORM_CONFIG = os.path.join("0", "config.json")


class PythonEntry(NamedTuple):
    """Platform ``python``: the function of a module that makes the model."""

    module: str
    function: str


class GraphNames(NamedTuple):
    """Platform ``tensorflow``: the graph's tensor for each input and output, and the ops to run once."""

    nodes: Dict[str, str]
    init_ops: Tuple[str, ...]


def read_python_entry(directory: str) -> PythonEntry:
    entry = read_json(directory, PLATFORM_CONFIG)
    for key in ("entrypoint_package", "entrypoint"):
        if key not in entry:
            raise _wrong(directory, "has no {!r}".format(key))
        if not isinstance(entry[key], str):
            raise _wrong(directory, "{!r} must be a string, not {!r}".format(key, entry[key]))
    return PythonEntry(entry["entrypoint_package"], entry["entrypoint"])


def read_graph_names(directory: str, optional: bool) -> GraphNames:
    """``optional``: the file may be missing, and then says nothing."""
    if optional and not os.path.exists(os.path.join(directory, PLATFORM_CONFIG)):
        return GraphNames({}, ())
    settings = read_json(directory, PLATFORM_CONFIG)
    # Both may be null, and a list without items is written as {} in old packages.
    nodes, init_ops = settings.get("node_name_mapping") or {}, settings.get("init_op_names") or []
    if not isinstance(nodes, dict) or not _texts(nodes.values()):
        raise _wrong(directory, "'node_name_mapping' must be a dict of nodes by name, not {!r}".format(nodes))
    if not isinstance(init_ops, list) or not _texts(init_ops):
        raise _wrong(directory, "'init_op_names' must be a list of names of ops, not {!r}".format(init_ops))
    return GraphNames(nodes, tuple(init_ops))


def _texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _wrong(directory: str, problem: str) -> PackageError:
    path = os.path.join(directory, PLATFORM_CONFIG)
    return PackageError("{} {}".format(path, problem), path)
