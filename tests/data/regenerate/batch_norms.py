"""Write batch norms in training mode, each with the values of evaluation, with real TensorFlow.

Run from the root of the repository, in the environment that regenerate.py describes::

    TF_USE_LEGACY_KERAS=1 .tensorflow/bin/python tests/data/regenerate/batch_norms.py

Each case of tests/data/batch-norms is an archive with a graph of training (`.meta` and its checkpoint, or a SavedModel
whose signature is a training step), and `truth.npz`: an input, and what the layer gives for it in evaluation, in
float32.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from code_bases import pack

TARGET = Path(__file__).resolve().parent.parent / "batch-norms"
SHAPE = (2, 3, 3, 4)
v1 = tf.compat.v1


def make_values() -> tuple[Any, ...]:
    """Return gamma, beta, moving mean and moving variance."""
    generator = np.random.default_rng(4)
    return tuple(generator.uniform(0.5, 1.5, SHAPE[3:]).astype(np.float32) for _ in range(4))


def write_graph(folder: Path, image: Any, *, fused: bool) -> Any:
    """Write a graph of `tf.layers` with variables of TensorFlow 1, and return its values in evaluation."""

    def build(images: Any, *, training: bool) -> Any:
        with v1.variable_scope("net", use_resource=False, reuse=v1.AUTO_REUSE):
            return v1.layers.batch_normalization(images, training=training, fused=fused)

    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, (None, *SHAPE[1:]), name="images")
        tf.identity(build(images, training=True), "output")
        variables = v1.global_variables()
        for variable, value in zip(variables, make_values(), strict=True):
            variable.load(value, session)
        v1.train.Saver().save(session, str(folder / "model.ckpt-1"))
        return session.run(build(images, training=False), {images: image})


def write_saved_model(folder: Path, image: Any, *, library: Any, fused: bool | None) -> Any:
    """Write a SavedModel whose signature trains a layer of Keras, and return the layer's values in evaluation."""
    layer = library.layers.BatchNormalization(**({} if fused is None else {"fused": fused}))
    layer.build((None, *SHAPE[1:]))
    for variable, value in zip(layer.variables, make_values(), strict=True):
        variable.assign(value)
    module = tf.Module()
    module.variables_of_layer = [getattr(variable, "value", variable) for variable in layer.variables]
    if library is tf_keras:
        module.variables_of_layer = list(layer.variables)
    evaluated = layer(image, training=False).numpy()
    kind = tf.TensorSpec((None, *SHAPE[1:]), tf.float32, name="images")
    train = tf.function(lambda images: {"output": layer(images, training=True)}, autograph=False)
    tf.saved_model.save(module, str(folder), signatures=train.get_concrete_function(kind))
    return evaluated


#: Name -> what writes the case to a folder, for an input.
CASES: dict[str, Callable[[Path, Any], Any]] = {
    "layers-fused": lambda folder, image: write_graph(folder, image, fused=True),
    "layers-plain": lambda folder, image: write_graph(folder, image, fused=False),
    "keras2-fused": lambda folder, image: write_saved_model(folder, image, library=tf_keras, fused=True),
    "keras2-plain": lambda folder, image: write_saved_model(folder, image, library=tf_keras, fused=False),
    "keras3": lambda folder, image: write_saved_model(folder, image, library=keras, fused=None),
}


def main() -> None:
    """Write all cases."""
    TARGET.mkdir(exist_ok=True)
    image = np.random.default_rng(5).normal(1, 2, SHAPE).astype(np.float32)
    for name, write in CASES.items():
        with tempfile.TemporaryDirectory() as temporary:
            output = write(Path(temporary), image)
            np.savez(f"{temporary}/truth.npz", input=image, output=output)
            pack(Path(temporary), TARGET / f"{name}.tgz")
        print(name, (TARGET / f"{name}.tgz").stat().st_size)


if __name__ == "__main__":
    main()
