"""What the TensorFlow packager checks and writes, without TensorFlow."""

import json
import os

import numpy as np
import pytest
from tensorflow_files_for_tests import field, frozen_graph, saved_model

from neuropod_worker.package import read_package
from neuropod_worker.packagers import create_tensorflow_neuropod

INPUTS = [{"name": name, "dtype": "float32", "shape": (None,)} for name in "xy"]
OUTPUTS = [{"name": "out", "dtype": "float32", "shape": (None,)}]
MAPPING = {"x": "scope/in_x:0", "y": "scope/in_y", "out": "out"}
NODES = ("scope/in_x", "scope/in_y", "out", "unused", "init")


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "graph.pb").write_bytes(frozen_graph(*NODES))
    (folder / "no_graph.pb").write_bytes(b"\xff\xff no protocol buffer")
    (folder / "cut_off.pb").write_bytes(frozen_graph(*NODES)[:-2])
    (folder / "empty").mkdir()
    (folder / "damaged").mkdir()
    (folder / "damaged" / "saved_model.pb").write_bytes(field(2, field(1, b"\xff")))
    saved_model(folder / "saved", "xy", ["out", "other"])
    saved_model(folder / "lacks_y", "x", ["out"])
    saved_model(folder / "more_inputs", ["x", "y", "keep_prob", "more"], ["out"])
    saved_model(folder / "lacks_out", "xy", ["output_0"])
    saved_model(folder / "another_key", "xy", ["out"], key="predict")
    saved_model(folder / "another_tag", "xy", ["out"], tags=("serve", "gpu"))
    return folder


class Saving:
    """What the packager knows of a GraphDef."""

    def __init__(self, content):
        self.content = content

    def SerializeToString(self):
        return self.content


def package(tmp_path, **parameters):
    path = tmp_path / "packaged"
    create_tensorflow_neuropod(str(path), "m", INPUTS, OUTPUTS, package_as_zip=False, **parameters)
    return read_package(str(path))


def graph(sources, name="graph.pb", mapping=MAPPING):
    return {"frozen_graph_path": str(sources / name), "node_name_mapping": mapping}


def saved(sources, name):
    return {"saved_model_dir": str(sources / name)}


EXACTLY_ONE = "exactly one of frozen_graph_path, graph_def, saved_model_dir, trackable_obj must be given, not "
NO_SAVED_MODEL = "saved_model_dir .*sources/{} is no SavedModel, which is a folder with a saved_model.pb: "
WRONG = {
    "no source": (lambda s: {}, EXACTLY_ONE + "none"),
    "two sources": (
        lambda s: {**graph(s), "graph_def": object()},
        EXACTLY_ONE + "frozen_graph_path and graph_def",
    ),
    "graph and SavedModel": (
        lambda s: {**graph(s), **saved(s, "saved")},
        EXACTLY_ONE + "frozen_graph_path and saved_model_dir",
    ),
    "all sources": (
        lambda s: {**graph(s), **saved(s, "saved"), "graph_def": object(), "trackable_obj": object()},
        EXACTLY_ONE + "frozen_graph_path and graph_def and saved_model_dir and trackable_obj",
    ),
    "a graph without mapping": (
        lambda s: graph(s, mapping=None),
        "node_name_mapping must be given with frozen_graph_path, a dict, not None",
    ),
    "a GraphDef without mapping": (
        lambda s: {"graph_def": object()},
        "node_name_mapping must be given with graph_def, a dict, not None",
    ),
    "a mapping that is a list": (
        lambda s: graph(s, mapping=["x"]),
        "node_name_mapping must be given with .*, a dict",
    ),
    "a mapping without an input": (
        lambda s: graph(s, mapping={"x": "scope/in_x", "out": "out"}),
        "node_name_mapping must have every input and output, and lacks 'y'",
    ),
    "a mapping without inputs and output": (
        lambda s: graph(s, mapping={"x": "scope/in_x"}),
        "and lacks 'y', 'out'",
    ),
    "a mapping to no text": (lambda s: graph(s, mapping=dict(MAPPING, x=5)), "a node must be a string .*, not 5"),
    "a mapping to another node": (
        lambda s: graph(s, mapping=dict(MAPPING, x="in_x:0")),
        "node_name_mapping names 'in_x:0', but the graph has no such node",
    ),
    "init ops as text": (lambda s: dict(graph(s), init_op_names="init"), "init_op_names must be a list, not 'init'"),
    "an unknown init op": (
        lambda s: dict(graph(s), init_op_names=["init", "table_init"]),
        "init_op_names names 'table_init', but the graph has no such node",
    ),
    "a mapping to no output": (
        lambda s: graph(s, mapping=dict(MAPPING, out="out:first")),
        "node_name_mapping must name nodes as scope/node or scope/node:0, not 'out:first'",
    ),
    "a GraphDef that is none": (
        lambda s: {"graph_def": 5, "node_name_mapping": MAPPING},
        "graph_def must be a GraphDef, but is of type int: ",
    ),
    "a GraphDef without bytes": (
        lambda s: {"graph_def": Saving("text"), "node_name_mapping": MAPPING},
        "graph_def must be a GraphDef, but is of type Saving$",
    ),
    "a graph file that is a folder": (
        lambda s: graph(s, "empty"),
        "frozen_graph_path must be a file, but .*empty is no regular file",
    ),
    "a path of a graph that is none": (
        lambda s: {"frozen_graph_path": 5, "node_name_mapping": MAPPING},
        "frozen_graph_path must be a path, a str or a Path that is not empty, not 5",
    ),
    "no graph file": (
        lambda s: graph(s, "nowhere.pb"),
        "frozen_graph_path must be a file, but .*nowhere.pb does not exist",
    ),
    "no graph": (lambda s: graph(s, "no_graph.pb"), "frozen_graph_path is no frozen graph, a serialized GraphDef"),
    "half a graph": (lambda s: graph(s, "cut_off.pb"), "is no frozen graph, a serialized GraphDef"),
    "no folder": (lambda s: saved(s, "nowhere"), NO_SAVED_MODEL.format("nowhere")),
    "a SavedModel that is a file": (lambda s: saved(s, "graph.pb"), NO_SAVED_MODEL.format("graph.pb")),
    "an empty folder": (lambda s: saved(s, "empty"), NO_SAVED_MODEL.format("empty")),
    "a damaged SavedModel": (
        lambda s: saved(s, "damaged"),
        "saved_model_dir .*sources/damaged is no SavedModel: its saved_model.pb is damaged",
    ),
    "a path of a SavedModel that is none": (lambda s: {"saved_model_dir": 5}, "saved_model_dir must be a path"),
    "a signature without an input": (
        lambda s: saved(s, "lacks_y"),
        "input_spec has inputs that the model's signature lacks: y$",
    ),
    "a signature with more inputs": (
        lambda s: saved(s, "more_inputs"),
        "input_spec lacks inputs of the model's signature: keep_prob, more$",
    ),
    "a signature without an output": (
        lambda s: saved(s, "lacks_out"),
        "output_spec has outputs that the model's signature lacks: out$",
    ),
    "a signature of another name": (
        lambda s: saved(s, "another_key"),
        r"another_key has no signature 'serving_default' under the tag 'serve', only \['predict'\]",
    ),
    "other tags": (lambda s: saved(s, "another_tag"), r"has no signature 'serving_default' .*, only \[\]"),
    "an object without TensorFlow": (
        lambda s: {"trackable_obj": object()},
        "trackable_obj cannot be saved as a SavedModel",
    ),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_wrong_source_is_a_value_error_and_leaves_nothing(tmp_path, sources, case):
    parameters, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        package(tmp_path, **parameters(sources))
    assert os.listdir(str(tmp_path)) == ["sources"]


def test_a_graph_is_packaged_as_it_is_with_its_mapping(tmp_path, sources):
    made = package(tmp_path, init_op_names=("init",), **graph(sources))
    with open(made.file("data", "model.pb"), "rb") as file:
        assert file.read() == frozen_graph(*NODES)
    with open(made.file("config.json")) as file:
        assert json.load(file) == {"node_name_mapping": MAPPING, "init_op_names": ["init"]}
    assert (made.platform, made.input_devices) == ("tensorflow", {"x": "GPU", "y": "GPU"})


def test_a_graph_def_is_serialized(tmp_path):
    made = package(tmp_path, graph_def=Saving(frozen_graph(*NODES)), node_name_mapping=MAPPING)
    with open(made.file("data", "model.pb"), "rb") as file:
        assert file.read() == frozen_graph(*NODES)


def test_a_saved_model_is_packaged_with_all_its_files(tmp_path, sources):
    (sources / "saved" / "variables" / "variables.index").write_text("weights")
    made = package(tmp_path, saved_model_dir=sources / "saved")
    assert sorted(os.listdir(made.file("data", "savedmodel"))) == ["saved_model.pb", "variables"]
    assert os.listdir(made.file("data", "savedmodel", "variables")) == ["variables.index"]


def test_a_mapping_with_a_saved_model_is_not_used_and_said_so(tmp_path, sources):
    with pytest.warns(UserWarning, match="node_name_mapping is not used with saved_model_dir"):
        made = package(tmp_path, node_name_mapping=MAPPING, **saved(sources, "saved"))
    with open(made.file("config.json")) as file:
        assert json.load(file) == {"node_name_mapping": {}, "init_op_names": []}


def test_a_test_input_that_does_not_fit_is_a_value_error_before_anything_is_written(tmp_path, sources):
    with pytest.raises(ValueError, match="input 'x': dtype should be float32"):
        package(tmp_path, test_input_data={"x": np.array(["text"])}, **graph(sources))
    assert os.listdir(str(tmp_path)) == ["sources"]
