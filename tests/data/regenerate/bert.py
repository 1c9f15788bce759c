"""Write the BERT encoder of tests/data/bert with real TensorFlow: names of google-research/bert, random values.

Run from the root of the repository, in the environment that regenerate.py describes::

    .tensorflow/bin/python tests/data/regenerate/bert.py

Two layers of 2 heads, width 16, a vocabulary of 30 words; a name-based checkpoint as a training run leaves it, with the
slots of its Adam.
`golden.npz` has token ids, and the encoder's output in float32 and, run in float64, `output64`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

TARGET = Path(__file__).resolve().parent.parent / "bert"
WIDTH, HEADS, LAYERS, WORDS, LENGTH = 16, 2, 2, 30, 12

Values = dict[str, np.ndarray[Any, np.dtype[Any]]]


def values() -> Values:
    """Random values of every variable, by the names of google-research/bert."""
    generator = np.random.default_rng(3)
    found: Values = {}

    def dense(name: str, inputs: int, outputs: int) -> None:
        found[f"{name}/kernel"] = generator.normal(0, inputs**-0.5, (inputs, outputs))
        found[f"{name}/bias"] = generator.normal(0, 0.1, outputs)

    def norm(name: str) -> None:
        found[f"{name}/LayerNorm/gamma"] = generator.uniform(0.5, 1.5, WIDTH)
        found[f"{name}/LayerNorm/beta"] = generator.normal(0, 0.1, WIDTH)

    found["bert/embeddings/word_embeddings"] = generator.normal(0, 1, (WORDS, WIDTH))
    found["bert/embeddings/position_embeddings"] = generator.normal(0, 1, (LENGTH, WIDTH))
    found["bert/embeddings/token_type_embeddings"] = generator.normal(0, 1, (2, WIDTH))
    norm("bert/embeddings")
    for number in range(LAYERS):
        layer = f"bert/encoder/layer_{number}"
        for part in ("query", "key", "value"):
            dense(f"{layer}/attention/self/{part}", WIDTH, WIDTH)
        dense(f"{layer}/attention/output/dense", WIDTH, WIDTH)
        norm(f"{layer}/attention/output")
        dense(f"{layer}/intermediate/dense", WIDTH, 4 * WIDTH)
        dense(f"{layer}/output/dense", 4 * WIDTH, WIDTH)
        norm(f"{layer}/output")
    dense("bert/pooler/dense", WIDTH, WIDTH)
    return {name: value.astype(np.float32) for name, value in found.items()}


def encode(ids: Any, weights: dict[str, Any]) -> Any:
    """The encoder's last layer and the pooled first token, of sentences without padding."""

    def dense(x: Any, name: str) -> Any:
        return tf.tensordot(x, weights[f"{name}/kernel"], 1) + weights[f"{name}/bias"]

    def norm(x: Any, name: str) -> Any:
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        gamma, beta = weights[f"{name}/LayerNorm/gamma"], weights[f"{name}/LayerNorm/beta"]
        return (x - mean) / tf.sqrt(variance + tf.cast(1e-12, x.dtype)) * gamma + beta

    def gelu(x: Any) -> Any:
        # Not tf.nn.gelu, whose numbers have float32's precision in float64 as well.
        root, cubic = tf.constant(np.sqrt(2 / np.pi), x.dtype), tf.constant(0.044715, x.dtype)
        return x * (1 + tf.tanh(root * (x + cubic * x * x * x))) / 2

    def heads(x: Any) -> Any:
        return tf.transpose(tf.reshape(x, (-1, LENGTH, HEADS, WIDTH // HEADS)), (0, 2, 1, 3))

    x = tf.gather(weights["bert/embeddings/word_embeddings"], ids)
    x += weights["bert/embeddings/position_embeddings"] + weights["bert/embeddings/token_type_embeddings"][0]
    x = norm(x, "bert/embeddings")
    for number in range(LAYERS):
        layer = f"bert/encoder/layer_{number}"
        query, key, value = (heads(dense(x, f"{layer}/attention/self/{part}")) for part in ("query", "key", "value"))
        scores = tf.matmul(query, key, transpose_b=True) / tf.sqrt(tf.cast(WIDTH // HEADS, x.dtype))
        attended = tf.reshape(tf.transpose(tf.matmul(tf.nn.softmax(scores), value), (0, 2, 1, 3)), (-1, LENGTH, WIDTH))
        x = norm(x + dense(attended, f"{layer}/attention/output/dense"), f"{layer}/attention/output")
        inner = gelu(dense(x, f"{layer}/intermediate/dense"))
        x = norm(x + dense(inner, f"{layer}/output/dense"), f"{layer}/output")
    return x, tf.tanh(dense(x[:, 0], "bert/pooler/dense"))


def main() -> None:
    """Save the checkpoint and record the outputs."""
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    arrays = values()
    ids = np.random.default_rng(4).integers(0, WORDS, (2, LENGTH))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.get_variable(name, initializer=value) for name, value in arrays.items()]
        for name, value in arrays.items():
            for slot in ("adam_m", "adam_v"):
                variables.append(tf.compat.v1.get_variable(f"{name}/{slot}", initializer=np.zeros_like(value)))
        variables.append(tf.compat.v1.get_variable("global_step", initializer=np.int64(100)))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(variables).save(session, str(TARGET / "model.ckpt-100"), write_meta_graph=False)
    (TARGET / "checkpoint").unlink()  # it names the folder this was made in
    golden = {"input": ids.astype(np.int64)}
    for suffix, dtype in (("", np.float32), ("64", np.float64)):
        output, pooled = encode(ids, {name: tf.constant(value.astype(dtype)) for name, value in arrays.items()})
        golden |= {f"output{suffix}": output.numpy(), f"pooled{suffix}": pooled.numpy()}
    np.savez_compressed(TARGET / "golden.npz", **golden)


if __name__ == "__main__":
    main()
