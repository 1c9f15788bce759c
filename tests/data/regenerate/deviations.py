"""Write networks of the released code that are changed in one place, with their graphs and logits in float64.

Run in the environment that regenerate.py describes, with the folder `efficientnetv2` of google/automl::

    TF_USE_LEGACY_KERAS=1 .tensorflow/bin/python tests/data/regenerate/deviations.py AUTOML [NAME ...]

Each case is an archive below tests/data/deviations: a checkpoint, its graph, and `truth.npz` with an input and what
TensorFlow computes from it in float64.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from random_networks import assign, build, load, values_of

TARGET = Path(__file__).resolve().parent.parent / "deviations"
SIDE = 16
v1 = tf.compat.v1
DRAWN = {
    "blocks": ["r2_k3_s1_e1_i8_o8_c1", "r1_k3_s2_e3_i8_o8_c0_se0.25", "r2_k5_s1_e2_i8_o8_c0_se0.25"],
    "include_top": True,
    "model": {
        "feature_size": 16,
        "num_classes": 5,
        "dropout_rate": 0.2,
        "survival_prob": 0.8,
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
    },
}
LITE = ["r1_k3_s1_e1_i8_o8_c0", "r2_k3_s2_e3_i8_o8_c0"]
#: A change of the network, before it is called.
Change = Callable[[Any], None]


def dilated(model: Any) -> None:
    """Dilate one depthwise convolution."""
    model._blocks[3]._depthwise_conv.dilation_rate = (2, 2)


def valid(model: Any) -> None:
    """Leave out the padding of the stem."""
    model._stem._conv_stem.padding = "valid"


def without_additions(model: Any) -> None:
    """Leave out all residual additions."""
    for block in model._blocks:
        block.residual = lambda inputs, x, training, survival_prob: x


def clipped(model: Any) -> None:
    """Clip the outputs of blocks, as the code for quantization does."""
    for block in model._blocks:
        add = block.residual
        block.residual = lambda inputs, x, *rest, add=add: add(inputs, tf.clip_by_value(x, -1, 1), *rest)


def max_pooled(model: Any) -> None:
    """Take the maximum over the last map."""
    model._head._avg_pooling = tf.keras.layers.GlobalMaxPooling2D()


def hard_gated(model: Any) -> None:
    """Use hard sigmoids in squeeze-and-excitation."""
    for block in model._blocks:
        if block._se is not None:
            block._se.call = lambda x, se=block._se: (
                x
                * (tf.nn.relu6(se._se_expand(se._act(se._se_reduce(tf.reduce_mean(x, [1, 2], keepdims=True)))) + 3) / 6)
            )


def one_activation(model: Any) -> None:
    """Use another activation in one block."""
    model._blocks[3]._act = tf.nn.relu


def other_activation_inside(model: Any) -> None:
    """Use another activation after one of a block's convolutions, which no configuration says."""
    block = model._blocks[2]
    block._norm0 = tf.keras.Sequential([block._norm0, tf.keras.layers.ReLU()])


def train(logits: Any) -> None:
    """Add a loss of logits, and the step of an optimizer."""
    labels = v1.placeholder(tf.int32, (None,), name="labels")
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    v1.train.GradientDescentOptimizer(0.1).minimize(loss, var_list=v1.global_variables())


def serve_scaled(logits: Any) -> Any:
    """Train with the logits, and return other ones."""
    train(logits)
    return logits * 1.5


def train_scaled(logits: Any) -> Any:
    """Train with other logits than are returned."""
    train(logits * 1.5)
    return tf.identity(logits)


def only_train(logits: Any) -> Any:
    """Train with the logits, and return nothing else."""
    train(logits)
    return logits


def replicate(logits_of: Callable[[Any], Any], image: Any) -> Any:
    """Compute logits on two cores of a TPU, which only makes a graph: nothing here can run it."""
    return v1.tpu.replicate(lambda part: logits_of(part), [[part] for part in tf.split(image, 2)])


def unchanged(model: Any) -> None:
    """Change nothing."""


#: Name -> changes of the settings, change of the network, of the image, and of the logits.
CASES: dict[str, tuple[dict[str, Any], Change, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "relu6-without-gates": ({"act_fn": "relu6", "blocks": LITE}, unchanged, tf.identity, tf.identity),
    "hard-swish": ({"act_fn": "hswish"}, unchanged, tf.identity, tf.identity),
    "relu": ({"act_fn": "relu"}, unchanged, tf.identity, tf.identity),
    "dilation": ({}, dilated, tf.identity, tf.identity),
    "valid": ({}, valid, tf.identity, tf.identity),
    "no-additions": ({}, without_additions, tf.identity, tf.identity),
    "clipped": ({}, clipped, tf.identity, tf.identity),
    "max-pooling": ({}, max_pooled, tf.identity, tf.identity),
    "hard-sigmoid": ({}, hard_gated, tf.identity, tf.identity),
    "one-activation": ({}, one_activation, tf.identity, tf.identity),
    "activation-inside": ({}, other_activation_inside, tf.identity, tf.identity),
    "scaled-logits": ({}, unchanged, tf.identity, lambda logits: logits * 1.5),
    "scaled-when-served": ({}, unchanged, tf.identity, serve_scaled),
    "scaled-when-trained": ({}, unchanged, tf.identity, train_scaled),
    "channels-first": ({"data_format": "channels_first"}, unchanged, tf.identity, tf.identity),
    "trained": ({}, unchanged, tf.identity, only_train),
    "trained-features": ({"include_top": False, "bn_type": "tpu_bn"}, unchanged, tf.identity, only_train),
    "replicated": ({}, unchanged, tf.identity, tf.identity),
    "scaled-input": ({}, unchanged, lambda image: (image - 0.5) * 2.0, tf.identity),
    "softmax": ({}, unchanged, tf.identity, tf.nn.softmax),
}


def call(code: Any, name: str, kind: Any, *, saved: bool = True) -> tuple[Any, Any, Any]:
    """Make a case's network, as it is saved or as it is used; return it with its placeholder and its output."""
    settings, change, before, after = CASES[name]
    settings = dict(settings)
    drawn = {**DRAWN, **{key: settings.pop(key, DRAWN[key]) for key in ("blocks", "include_top")}}
    if not saved and "data_format" in settings:  # TensorFlow runs only the twin with channels last here
        settings["data_format"] = "channels_last"
    first = settings.get("data_format") == "channels_first"
    image = v1.placeholder(kind, (None, 3, SIDE, SIDE) if first else (None, SIDE, SIDE, 3), name="images")
    model = build(code, drawn, **settings)
    change(model)
    if name == "replicated" and saved:
        return model, image, replicate(lambda part: model(part, training=False), image)
    if name.startswith("trained"):
        return model, image, after(model(image, training=True)) if saved else model(image, training=False)
    return model, image, after(model(before(image), training=False))


def make(code: Any, name: str, folder: Path) -> None:
    """Write one case."""
    with tf.Graph().as_default(), v1.Session() as session:
        model, _, _ = call(code, name, tf.float32, saved=name != "replicated")
        # Few bits, so that archives are small.
        values = [np.round(value * 64) / 64 for value in values_of(model.variables, len(name))]
        assign(session, zip(model.variables, values, strict=True))
        v1.train.Saver(model.variables).save(session, str(folder / "model.ckpt-1"))
    if name == "replicated":
        with tf.Graph().as_default():
            model, _, _ = call(code, name, tf.float32)
            v1.train.Saver(model.variables).export_meta_graph(str(folder / "model.ckpt-1.meta"))
    inputs = np.random.default_rng(1).integers(-16, 17, size=(1, SIDE, SIDE, 3)) / 8
    tf.keras.backend.set_floatx("float64")
    with tf.Graph().as_default(), v1.Session() as session:
        model, image, output = call(code, name, tf.float64, saved=False)
        assign(session, zip(model.variables, values, strict=True))
        np.savez(folder / "truth.npz", input=inputs, output=session.run(output, {image: inputs}))
    tf.keras.backend.set_floatx("float32")


def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out what differs from run to run."""
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    return info


def main() -> None:
    """Write all cases, or the named ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("automl", type=Path)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    code = load(options.automl)
    TARGET.mkdir(exist_ok=True)
    for name in options.names or CASES:
        with tempfile.TemporaryDirectory() as temporary:
            make(code, name, Path(temporary))
            with tarfile.open(TARGET / f"{name}.tgz", "w:gz") as archive:
                for path in sorted(Path(temporary).iterdir()):
                    archive.add(path, path.name, filter=plain)
        print(name, flush=True)


if __name__ == "__main__":
    main()
