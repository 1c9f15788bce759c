"""A script that saves a network of keras.applications with random weights, or times its signature; needs TensorFlow."""

from __future__ import annotations

import sys
import time


def save(name: str, folder: str) -> None:
    """Save the network into a folder."""
    import tensorflow as tf  # type: ignore[import-not-found, unused-ignore]  # only in an interpreter that has TensorFlow
    import tf_keras  # type: ignore[import-not-found, unused-ignore]

    tf.random.set_seed(0)
    tf.saved_model.save(getattr(tf_keras.applications, name)(weights=None), folder)


def run(folder: str) -> None:
    """Run the signature on one thread for every line of the standard input, and print the seconds of each run."""
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    signature = tf.saved_model.load(folder).signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    image = tf.constant(np.random.default_rng(0).random((1, 224, 224, 3), np.float32))
    for _ in sys.stdin:
        started = time.process_time()
        for value in signature(**{name: image}).values():
            value.numpy()
        print(time.process_time() - started, flush=True)


if __name__ == "__main__":
    save(*sys.argv[1:3]) if sys.argv[3] == "save" else run(sys.argv[2])
