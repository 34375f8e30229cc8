"""Packages the matrix's model with the TensorFlow of this interpreter: python package_tensorflow.py PATH"""

import sys

import tensorflow as tf

from neuropod_worker.packagers import create_tensorflow_neuropod

v1 = getattr(tf.compat, "v1", tf)

with v1.Graph().as_default() as graph:
    x = v1.placeholder(tf.float32, (None, 3), name="x")
    weight, bias = v1.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), v1.constant([0.5, -0.5])
    v1.add(v1.matmul(x, weight), bias, name="y")

create_tensorflow_neuropod(
    neuropod_path=sys.argv[1],
    model_name="affine",
    graph_def=graph.as_graph_def(),
    node_name_mapping={"x": "x", "y": "y"},
    input_spec=[{"name": "x", "dtype": "float32", "shape": ("n", 3)}],
    output_spec=[{"name": "y", "dtype": "float32", "shape": ("n", 2)}],
)
