"""Trains a network with the Keras that TensorFlow 2.11 brings, and packages it.

    python train_keras.py DIGITS.npz PACKAGE

Runs in an environment with TensorFlow 2 and numpy, nothing else.
"""

import sys

import tensorflow as tf
from problem import INPUTS, OUTPUTS, read_training_digits

from neuropod_worker.packagers import create_keras_neuropod

EPOCHS = 60
BATCH = 64


def trained(digits):
    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Reshape((64,), input_shape=(8, 8), name="image"),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax", name="probability"),
        ]
    )
    model.compile(optimizer=tf.keras.optimizers.Adam(0.003), loss="sparse_categorical_crossentropy")
    model.fit(digits.images, digits.labels, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    return model


def main(digits_path, package_path):
    digits = read_training_digits(digits_path)
    model = trained(digits)
    create_keras_neuropod(
        neuropod_path=package_path,
        model_name="digits_keras",
        sess=None,
        model=model,
        node_name_mapping={"image": model.input_names[0], "probability": model.output_names[0]},
        platform_version_semver=tf.__version__,
        input_spec=INPUTS,
        output_spec=OUTPUTS,
        test_input_data={"image": digits.images[:2]},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
