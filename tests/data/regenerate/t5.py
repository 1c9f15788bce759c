"""Write the checkpoints of T5 and T5 1.1 in tests/data/families with real TensorFlow: names of Mesh TensorFlow.

Run from the root of the repository, in the environment that regenerate.py describes::

    .tensorflow/bin/python tests/data/regenerate/t5.py

Mesh TensorFlow does not run with TensorFlow 2, so that its layers are written down here in plain TensorFlow; there is
no graph. Two layers, 3 heads of 4 channels and width 8, with the slots of Adafactor for one variable.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

TARGET = Path(__file__).resolve().parent.parent / "families"
WORDS, WIDTH, HEADS, SIZE, INNER, LAYERS, BUCKETS = 30, 8, 3, 4, 16, 2, 8
DISTANCE = 20

Values = dict[str, Any]


def make_values(*, gated: bool) -> Values:
    """Random multiples of 1/64 for every variable."""
    generator = np.random.default_rng(6)
    values: Values = {}

    def add(name: str, *shape: int, spread: int = 24) -> None:
        values[name] = (generator.integers(-spread, spread + 1, shape) / 64).astype(np.float32)

    add("shared/embedding", WORDS, WIDTH, spread=64)
    for side in ("encoder", "decoder"):
        kinds = ["SelfAttention", *(["EncDecAttention"] if side == "decoder" else []), "DenseReluDense"]
        for block in range(LAYERS):
            for position, kind in enumerate(kinds):
                layer = f"{side}/block_{block:03}/layer_{position:03}"
                if kind == "DenseReluDense":
                    for name in ("wi_0", "wi_1") if gated else ("wi",):
                        add(f"{layer}/{kind}/{name}/kernel", WIDTH, INNER)
                    add(f"{layer}/{kind}/wo/kernel", INNER, WIDTH)
                else:
                    for name in "qkv":
                        add(f"{layer}/{kind}/{name}", WIDTH, HEADS * SIZE)
                    add(f"{layer}/{kind}/o", HEADS * SIZE, WIDTH)
                    if kind == "SelfAttention" and not block:
                        add(f"{layer}/{kind}/relative_attention_bias", HEADS, BUCKETS)
                values[f"{layer}/layer_norm/scale"] = (generator.integers(40, 96, WIDTH) / 64).astype(np.float32)
        values[f"{side}/final_layer_norm/scale"] = (generator.integers(40, 96, WIDTH) / 64).astype(np.float32)
    if gated:
        add("decoder/logits/kernel", WIDTH, WORDS)
    return values


def compute_buckets(length: int, *, both: bool) -> Any:
    """The bucket of each relative position: half of them exact, the rest logarithmic up to `DISTANCE`."""
    relative = np.arange(length)[None] - np.arange(length)[:, None]
    buckets, offset = BUCKETS, np.zeros_like(relative)
    if both:
        buckets //= 2
        offset = (relative > 0) * buckets
        relative = abs(relative)
    else:
        relative = np.maximum(-relative, 0)
    exact = buckets // 2
    scale = np.log(np.maximum(relative, 1).astype(np.float32) / exact) / np.log(DISTANCE / exact) * (buckets - exact)
    return offset + np.where(relative < exact, relative, np.minimum(exact + scale.astype(np.int32), buckets - 1))


def run(values: Values, ids: Any, outputs: Any, *, gated: bool) -> tuple[Any, Any]:
    """The encoder's output and the logits."""

    def norm(x: Any, name: str) -> Any:
        return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-6) * values[f"{name}/scale"]

    def attend(x: Any, memory: Any, name: str, bias: Any) -> Any:
        def heads(y: Any, part: str) -> Any:
            y = tf.tensordot(y, values[f"{name}/{part}"], 1)
            return tf.transpose(tf.reshape(y, (*y.shape[:2], HEADS, SIZE)), (0, 2, 1, 3))

        query, key, value = heads(x, "q"), heads(memory, "k"), heads(memory, "v")
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) + bias)
        mixed = tf.transpose(tf.matmul(weights, value), (0, 2, 1, 3))
        return tf.tensordot(tf.reshape(mixed, (*x.shape[:2], HEADS * SIZE)), values[f"{name}/o"], 1)

    def feed(x: Any, name: str) -> Any:
        def dense(part: str) -> Any:
            return tf.tensordot(x, values[f"{name}/{part}/kernel"], 1)

        inner = tf.nn.gelu(dense("wi_0"), approximate=True) * dense("wi_1") if gated else tf.nn.relu(dense("wi"))
        return tf.tensordot(inner, values[f"{name}/wo/kernel"], 1)

    def stack(side: str, ids: Any, memory: Any) -> Any:
        x = tf.gather(values["shared/embedding"], ids)
        table = values[f"{side}/block_000/layer_000/SelfAttention/relative_attention_bias"]
        bias = table[:, compute_buckets(ids.shape[1], both=side == "encoder")][None]
        if side == "decoder":
            bias = bias + np.triu(np.full((ids.shape[1],) * 2, -1e9, np.float32), 1)
        for block in range(LAYERS):
            layers = [f"{side}/block_{block:03}/layer_{position:03}" for position in range(3)]
            y = norm(x, f"{layers[0]}/layer_norm")
            x += attend(y, y, f"{layers[0]}/SelfAttention", bias)
            if memory is not None:
                x += attend(norm(x, f"{layers[1]}/layer_norm"), memory, f"{layers[1]}/EncDecAttention", 0.0)
            last = layers[1 if memory is None else 2]
            x += feed(norm(x, f"{last}/layer_norm"), f"{last}/DenseReluDense")
        return norm(x, f"{side}/final_layer_norm")

    encoded = stack("encoder", ids, None)
    decoded = stack("decoder", outputs, encoded)
    if gated:
        return encoded, tf.tensordot(decoded, values["decoder/logits/kernel"], 1)
    return encoded, tf.matmul(decoded * WIDTH**-0.5, values["shared/embedding"], transpose_b=True)


def write(case: str, *, gated: bool) -> None:
    """Write an archive with the checkpoint and its gin file, and the outputs."""
    values = make_values(gated=gated)
    generator = np.random.default_rng(7)
    ids, outputs = (generator.integers(0, WORDS, (2, length)).astype(np.int32) for length in (25, 9))
    encoded, logits = run(values, ids, outputs, gated=gated)
    activation = '["gelu", "linear"]' if gated else '"relu"'
    settings = f"""# Parameters for Bitransformer:
d_model = {WIDTH}
d_kv = {SIZE}
num_heads = {HEADS}
num_layers = {LAYERS}
dropout_rate = 0.05
DenseReluDense.activation = {activation}
SelfAttention.relative_attention_num_buckets = {BUCKETS}
SelfAttention.relative_attention_max_distance = {DISTANCE}
SelfAttention.num_heads = %num_heads
"""
    slots = {f"shared/embedding_slot_{slot}": np.zeros(n, np.float32) for slot, n in (("vr", WORDS), ("vc", WIDTH))}
    with (
        tf.Graph().as_default(),
        tf.compat.v1.Session() as session,
        tempfile.TemporaryDirectory() as temporary,
        tarfile.open(TARGET / f"{case}.tar.xz", "w:xz") as archive,
    ):
        arrays = {**values, **slots, "global_step": np.int64(1000)}
        variables = [tf.compat.v1.get_variable(name, initializer=value) for name, value in arrays.items()]
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(variables)
        saver.save(session, f"{temporary}/model.ckpt-1000", write_meta_graph=False, write_state=False)
        Path(temporary, "operative_config.gin").write_text(settings)
        for path in sorted(Path(temporary).iterdir()):
            member = tarfile.TarInfo(f"{case}/{path.name}")
            member.size = path.stat().st_size
            archive.addfile(member, io.BytesIO(path.read_bytes()))
    golden = {"input/input_ids": ids, "input/decoder_input_ids": outputs}
    golden |= {"output/sequence": encoded.numpy(), "output/words": logits.numpy()}
    np.savez_compressed(TARGET / f"{case}.npz", **golden)


if __name__ == "__main__":
    write("t5", gated=False)
    write("t5-1.1", gated=True)
