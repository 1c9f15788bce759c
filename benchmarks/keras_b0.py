"""A script that saves Keras's EfficientNetV2B0 with random weights as a SavedModel; needs TensorFlow.

The moving statistics are those of random images, so that activations keep a typical size.
"""

from __future__ import annotations

import sys


def main(folder: str) -> None:
    """Save the network into a folder."""
    import tensorflow as tf  # type: ignore[import-not-found, unused-ignore]  # only in an interpreter that has TensorFlow
    import tf_keras  # type: ignore[import-not-found, unused-ignore]

    tf.random.set_seed(0)
    model = tf_keras.applications.EfficientNetV2B0(weights=None, classes=1000, classifier_activation=None)
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(tf.random.uniform((2, 224, 224, 3), maxval=255.0), training=True)
    tf.saved_model.save(model, folder)


if __name__ == "__main__":
    main(sys.argv[1])
