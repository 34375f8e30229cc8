"""Trains a network with TensorFlow and packages it as a frozen graph; the same script under 1.13.1 and 2.21.0.

    python train_tensorflow.py DIGITS.npz PACKAGE

Runs in an environment with some TensorFlow and numpy, nothing else.
"""

import sys

import numpy as np
import tensorflow as tf
from problem import INPUTS, OUTPUTS, read_training_digits

from neuropod_worker.packagers import create_tensorflow_neuropod

# TensorFlow 2 keeps the names of the first in here; 1.12 has none but those.
v1 = getattr(tf.compat, "v1", tf)
PIXELS, HIDDEN, DIGITS = 64, 64, 10
STEPS = 1500
BATCH = 64


def dense(inputs, name, rows, columns):
    start = v1.random_normal_initializer(stddev=rows**-0.5, seed=0)
    weight = v1.get_variable(name + "_weight", (rows, columns), initializer=start, use_resource=False)
    bias = v1.get_variable(name + "_bias", (columns,), initializer=v1.zeros_initializer(), use_resource=False)
    return v1.matmul(inputs, weight) + bias


def trained_graph(digits):
    """The graph from ``image`` to ``probability``, with its weights as constants."""
    with v1.Graph().as_default() as graph, v1.Session() as session:
        image = v1.placeholder(tf.float32, (None, 8, 8), name="image")
        hidden = tf.nn.relu(dense(v1.reshape(image, (-1, PIXELS)), "hidden", PIXELS, HIDDEN))
        scores = dense(hidden, "scores", HIDDEN, DIGITS)
        v1.identity(tf.nn.softmax(scores), name="probability")
        label = v1.placeholder(tf.int64, (None,))
        loss = v1.losses.sparse_softmax_cross_entropy(label, scores)
        step = v1.train.AdamOptimizer(0.003).minimize(loss)
        session.run(v1.global_variables_initializer())
        random = np.random.RandomState(0)
        for _ in range(STEPS):
            chosen = random.randint(0, len(digits.labels), BATCH)
            session.run(step, {image: digits.images[chosen], label: digits.labels[chosen]})
        return v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["probability"])


def main(digits_path, package_path):
    digits = read_training_digits(digits_path)
    create_tensorflow_neuropod(
        neuropod_path=package_path,
        model_name="digits_tensorflow",
        graph_def=trained_graph(digits),
        node_name_mapping={"image": "image", "probability": "probability"},
        platform_version_semver=tf.__version__,
        input_spec=INPUTS,
        output_spec=OUTPUTS,
        test_input_data={"image": digits.images[:2]},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
