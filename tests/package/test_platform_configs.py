"""``0/config.json`` of every platform: what old packages leave out, and errors that name the file."""

import json

import pytest
from sample_packages import python_package, write_files

from neuropod_worker.backends import load_model
from neuropod_worker.errors import PackageError
from neuropod_worker.package.platform_config import read_graph_names, read_python_entry

ENTRY = {"entrypoint_package": "model.main", "entrypoint": "load"}


def config(tmp_path, content):
    text = content if isinstance(content, str) else json.dumps(content)
    return str(write_files(tmp_path, {"0/config.json": text}))


@pytest.mark.parametrize("read", [read_python_entry, lambda directory: read_graph_names(directory, optional=False)])
@pytest.mark.parametrize("content", ["", "{", "[]", "5", "null", '"text"'])
def test_what_is_no_json_object_is_an_error_that_names_the_file(tmp_path, read, content):
    with pytest.raises(PackageError, match=r"0/config\.json (cannot be read|must hold a JSON object)") as caught:
        read(config(tmp_path, content))
    assert caught.value.path == str(tmp_path / "0" / "config.json")


@pytest.mark.parametrize("read", [read_python_entry, lambda directory: read_graph_names(directory, optional=False)])
def test_a_missing_file_is_an_error_that_names_it(tmp_path, read):
    with pytest.raises(PackageError, match=r"0/config\.json is missing in "):
        read(str(tmp_path))


def test_an_entry_point_is_read_and_unknown_keys_ignored(tmp_path):
    assert read_python_entry(config(tmp_path, dict(ENTRY, colour="red"))) == ("model.main", "load")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"entrypoint_package": 5}, r"0/config\.json 'entrypoint_package' must be a string, not 5"),
        ({"entrypoint": None}, r"0/config\.json 'entrypoint' must be a string, not None"),
        ({"entrypoint": ["load"]}, r"'entrypoint' must be a string, not \['load'\]"),
    ],
)
def test_an_entry_point_that_is_no_text_is_an_error_that_names_the_file(tmp_path, changed, message):
    with pytest.raises(PackageError, match=message):
        read_python_entry(config(tmp_path, dict(ENTRY, **changed)))


@pytest.mark.parametrize("key", sorted(ENTRY))
def test_a_missing_part_of_an_entry_point_is_an_error_when_the_model_is_loaded(tmp_path, key):
    package = python_package(tmp_path, {"main.py": ""})
    config(tmp_path / "packaged", {name: text for name, text in ENTRY.items() if name != key})
    with pytest.raises(PackageError, match=r"0/config\.json has no '{}'".format(key)):
        load_model(package)


@pytest.mark.parametrize("nothing", [{}, {"init_op_names": {}}, {"init_op_names": None, "node_name_mapping": None}])
def test_old_graphs_say_nothing_in_many_ways(tmp_path, nothing):
    assert read_graph_names(config(tmp_path, nothing), optional=False) == ({}, ())


def test_a_saved_model_needs_no_file_and_may_have_one(tmp_path):
    assert read_graph_names(str(tmp_path), optional=True) == ({}, ())
    path = config(tmp_path, {"node_name_mapping": {"x": "x:0"}, "init_op_names": ["a", "b"]})
    assert read_graph_names(path, optional=True) == ({"x": "x:0"}, ("a", "b"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"node_name_mapping": ["x"]}, r"'node_name_mapping' must be a dict of nodes by name, not \['x'\]"),
        ({"node_name_mapping": 5}, "'node_name_mapping' must be a dict of nodes by name, not 5"),
        ({"node_name_mapping": {"x": 5}}, "'node_name_mapping' must be a dict of nodes by name, not {'x': 5}"),
        ({"node_name_mapping": {"x": None}}, ".* not {'x': None}"),
        ({"init_op_names": "init"}, "'init_op_names' must be a list of names of ops, not 'init'"),
        ({"init_op_names": 5}, "'init_op_names' must be a list of names of ops, not 5"),
        ({"init_op_names": [5]}, r"'init_op_names' must be a list of names of ops, not \[5\]"),
        ({"init_op_names": {"a": 1}}, "'init_op_names' must be a list of names of ops, not {'a': 1}"),
    ],
)
def test_a_graph_without_plain_names_is_an_error_that_names_the_file(tmp_path, content, message):
    with pytest.raises(PackageError, match=r"0/config\.json " + message):
        read_graph_names(config(tmp_path, content), optional=False)
