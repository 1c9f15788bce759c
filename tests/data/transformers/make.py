"""Write tiny checkpoints of BERT, GPT-2, ALBERT, ELECTRA and T5 with real TensorFlow, and record how they load.

The names are those of the checkpoints that were published; the values are random.
TensorFlow never enters the project's own environment; make one beside it, once::

    python3.11 -m venv .tensorflow
    .tensorflow/bin/pip install tensorflow-cpu==2.21.0 'transformers==4.57.6' torch==2.13.0

and run, from the root of the repository::

    .tensorflow/bin/python tests/data/transformers/make.py
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
import zlib

import numpy as np
import tensorflow as tf
import transformers

HERE = pathlib.Path(__file__).resolve().parent
VOCABULARY, POSITIONS, HIDDEN, INNER, HEADS, LAYERS, EMBEDDING = 11, 12, 8, 16, 2, 2, 4
Shapes = dict[str, list[int]]


def main() -> None:
    """Write every checkpoint and expected.json."""
    write("bert/bert_model.ckpt", bert())
    write("gpt2/model.ckpt", gpt2())
    write("albert/model.ckpt-best", albert())
    write("electra/electra_small", electra())
    write("t5/model.ckpt-1000", t5())
    script = [sys.executable, str(HERE / "digests.py"), str(HERE)]
    loaded = json.loads(subprocess.run(script, check=True, capture_output=True, text=True).stdout)
    record = {"tensorflow": tf.__version__, "transformers": transformers.__version__, "loaded": loaded}
    (HERE / "expected.json").write_text(json.dumps(record, indent=1) + "\n", encoding="ascii")


def write(prefix: str, shapes: Shapes) -> None:
    """A checkpoint as a Saver of TF1 leaves it, with its state file and without the graph."""
    path = HERE / prefix
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [
            tf.compat.v1.get_variable(name, initializer=values(name, shape), use_resource=False)
            for name, shape in shapes.items()
        ]
        step = tf.compat.v1.get_variable("global_step", initializer=np.int64(1000), use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver([*variables, step] if not prefix.startswith("gpt2") else variables)
        saver.save(session, str(path), write_meta_graph=False)
    state = path.parent / "checkpoint"
    state.write_text(state.read_text(encoding="utf-8").replace(f"{path.parent}/", ""), encoding="utf-8")


def values(name: str, shape: list[int]) -> np.ndarray:
    """Random numbers that depend on the name alone."""
    return np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)


def dense(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}/kernel": [inputs, outputs], f"{name}/bias": [outputs]}


def norm(name: str, size: int) -> Shapes:
    return {f"{name}/beta": [size], f"{name}/gamma": [size]}


def embeddings(name: str, size: int) -> Shapes:
    return {
        f"{name}/word_embeddings": [VOCABULARY, size],
        f"{name}/position_embeddings": [POSITIONS, size],
        f"{name}/token_type_embeddings": [2, size],
        **norm(f"{name}/LayerNorm", size),
    }


def attention(name: str) -> Shapes:
    found: Shapes = {}
    for part in ("query", "key", "value"):
        found |= dense(f"{name}/self/{part}", HIDDEN, HIDDEN)
    return found | dense(f"{name}/output/dense", HIDDEN, HIDDEN)


def encoder(name: str) -> Shapes:
    found: Shapes = {}
    for layer in range(LAYERS):
        here = f"{name}/layer_{layer}"
        found |= attention(f"{here}/attention") | norm(f"{here}/attention/output/LayerNorm", HIDDEN)
        found |= dense(f"{here}/intermediate/dense", HIDDEN, INNER)
        found |= dense(f"{here}/output/dense", INNER, HIDDEN) | norm(f"{here}/output/LayerNorm", HIDDEN)
    return found


def bert() -> Shapes:
    """google-research/bert, with the slots that a training run leaves."""
    weights = {
        **embeddings("bert/embeddings", HIDDEN),
        **encoder("bert/encoder"),
        **dense("bert/pooler/dense", HIDDEN, HIDDEN),
        "cls/predictions/output_bias": [VOCABULARY],
        **dense("cls/predictions/transform/dense", HIDDEN, HIDDEN),
        **norm("cls/predictions/transform/LayerNorm", HIDDEN),
        "cls/seq_relationship/output_bias": [2],
        "cls/seq_relationship/output_weights": [2, HIDDEN],
    }
    slots = {f"{name}/adam_{slot}": shape for name, shape in weights.items() for slot in "mv" if "layer_0" in name}
    return weights | slots


def gpt2() -> Shapes:
    """openai/gpt-2."""
    found: Shapes = {"model/wte": [VOCABULARY, HIDDEN], "model/wpe": [POSITIONS, HIDDEN]}
    for layer in range(LAYERS):
        here = f"model/h{layer}"
        for part, inputs, outputs in (
            ("attn/c_attn", HIDDEN, 3 * HIDDEN),
            ("attn/c_proj", HIDDEN, HIDDEN),
            ("mlp/c_fc", HIDDEN, 4 * HIDDEN),
            ("mlp/c_proj", 4 * HIDDEN, HIDDEN),
        ):
            found |= {f"{here}/{part}/w": [1, inputs, outputs], f"{here}/{part}/b": [outputs]}
        for part in ("ln_1", "ln_2"):
            found |= {f"{here}/{part}/g": [HIDDEN], f"{here}/{part}/b": [HIDDEN]}
    return found | {"model/ln_f/g": [HIDDEN], "model/ln_f/b": [HIDDEN]}


def albert() -> Shapes:
    """google-research/albert."""
    group = "bert/encoder/transformer/group_0/inner_group_0"
    return {
        **embeddings("bert/embeddings", EMBEDDING),
        **dense("bert/encoder/embedding_hidden_mapping_in", EMBEDDING, HIDDEN),
        **attention(f"{group}/attention_1"),
        **norm(f"{group}/LayerNorm", HIDDEN),
        **norm(f"{group}/LayerNorm_1", HIDDEN),
        **dense(f"{group}/ffn_1/intermediate/dense", HIDDEN, INNER),
        **dense(f"{group}/ffn_1/intermediate/output/dense", INNER, HIDDEN),
        **dense("bert/pooler/dense", HIDDEN, HIDDEN),
        "cls/predictions/output_bias": [VOCABULARY],
        **dense("cls/predictions/transform/dense", HIDDEN, EMBEDDING),
        **norm("cls/predictions/transform/LayerNorm", EMBEDDING),
        "cls/seq_relationship/output_bias": [2],
        "cls/seq_relationship/output_weights": [2, HIDDEN],
    }


def electra() -> Shapes:
    """google-research/electra: discriminator and generator in one checkpoint, with shared embeddings."""
    return {
        **embeddings("electra/embeddings", EMBEDDING),
        **dense("electra/embeddings_project", EMBEDDING, HIDDEN),
        **encoder("electra/encoder"),
        **dense("discriminator_predictions/dense", HIDDEN, HIDDEN),
        **dense("discriminator_predictions/dense_1", HIDDEN, 1),
        **dense("generator/embeddings_project", EMBEDDING, HIDDEN),
        **encoder("generator/encoder"),
        **dense("generator_predictions/dense", HIDDEN, EMBEDDING),
        **norm("generator_predictions/LayerNorm", EMBEDDING),
        "generator_predictions/output_bias": [VOCABULARY],
    }


def t5() -> Shapes:
    """google-research/text-to-text-transfer-transformer, with the slots of Adafactor."""
    found: Shapes = {"shared/embedding": [VOCABULARY, HIDDEN], "shared/embedding_slot_vr": [VOCABULARY]}
    for stack, kinds in (
        ("encoder", ("SelfAttention", "DenseReluDense")),
        ("decoder", ("SelfAttention", "EncDecAttention", "DenseReluDense")),
    ):
        for block in range(LAYERS):
            for layer, kind in enumerate(kinds):
                here = f"{stack}/block_{block:03d}/layer_{layer:03d}"
                if kind == "DenseReluDense":
                    found |= {f"{here}/{kind}/wi/kernel": [HIDDEN, INNER], f"{here}/{kind}/wo/kernel": [INNER, HIDDEN]}
                    found |= {f"{here}/{kind}/wi/kernel_slot_vc": [HIDDEN]}
                else:
                    found |= {f"{here}/{kind}/{part}": [HIDDEN, HIDDEN] for part in "qkvo"}
                if kind == "SelfAttention" and block == 0:
                    found |= {f"{here}/{kind}/relative_attention_bias": [HEADS, 32]}
                found |= {f"{here}/layer_norm/scale": [HIDDEN]}
        found |= {f"{stack}/final_layer_norm/scale": [HIDDEN]}
    return found


if __name__ == "__main__":
    main()
