"""Packages graphs whose ops are custom: ``export_tensorflow FOLDER OP ...``, under the TensorFlow of the ops."""

import sys

import numpy as np
import tensorflow as tf

from neuropod_worker.packagers import create_tensorflow_neuropod

v1 = getattr(tf.compat, "v1", tf)


def main(folder, *ops):
    library = tf.load_op_library(ops[0])
    x = np.float32([1, 2])
    spec = {"dtype": "float32", "shape": (None,)}
    for name, sample in (("twice", {"x": x}), ("crash", None)):
        with v1.Graph().as_default() as graph:
            fed = v1.placeholder(tf.float32, name="x")
            getattr(library, "ope_tests_" + name)(fed, name="y")
        create_tensorflow_neuropod(
            f"{folder}/{name}",
            name,
            [dict(spec, name="x")],
            [dict(spec, name="y")],
            node_name_mapping={"x": "x", "y": "y"},
            graph_def=graph.as_graph_def(),
            custom_ops=ops,
            package_as_zip=False,
            test_input_data=sample,
            test_expected_out=sample and {"y": 2 * x},
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
