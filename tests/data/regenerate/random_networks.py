"""Write random networks of the released code with real TensorFlow, with their graphs and their logits in float64.

Run in the environment that regenerate.py describes, with the folder `efficientnetv2` of google/automl::

    TF_USE_LEGACY_KERAS=1 .tensorflow/bin/python tests/data/regenerate/random_networks.py AUTOML OUT [--count 200]

Then, in the project's own environment, count what is converted right, refused or wrong::

    .venv/bin/python -m tests.random_networks OUT

Widths, depths, kernels, strides, expansions, squeeze-and-excitation, activations, norms, epsilons, heads, data formats,
and what is saved (a graph of evaluation or training with or without averages, or a SavedModel) are drawn at random.
Logits of a network with channels first come from its twin with channels last, since TensorFlow runs only that here.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

ACTIVATIONS = ("silu", "silu_native", "hswish", "relu", "relu6", "elu", "leaky_relu", "selu", "mish", None)
SAVED = ("eval", "eval", "train", "averages", "saved_model")
v1 = tf.compat.v1


def load(folder: Path) -> tuple[Any, Any]:
    """Import the released code; its group normalization is in a package that is no longer made."""
    addons = types.ModuleType("tensorflow_addons.layers")
    addons.GroupNormalization = lambda groups, axis, epsilon, name=None: tf.keras.layers.GroupNormalization(
        groups, axis, epsilon, name=name
    )
    package = types.ModuleType("tensorflow_addons")
    package.layers = addons
    sys.modules |= {"tensorflow_addons": package, "tensorflow_addons.layers": addons}
    sys.path.insert(0, str(folder))
    # Layers need no conversion of their Python code, which takes longer than all else.
    tf.__internal__.autograph.tf_convert = lambda function, *_, **__: function
    import effnetv2_configs
    import effnetv2_model
    import utils

    moments = utils.TpuBatchNormalization._moments
    # Newer versions of Keras pass a mask.
    utils.TpuBatchNormalization._moments = lambda self, inputs, axes, keep_dims, mask=None: moments(
        self, inputs, axes, keep_dims
    )
    return effnetv2_model, effnetv2_configs


def draw(number: int) -> dict[str, Any]:
    """Draw a network and the way it is saved."""
    chance = random.Random(number)
    channels = chance.choice((8, 16))
    blocks = []
    size = chance.choice((24, 32, 33, 40))
    for _ in range(chance.randint(1, 3)):
        out = chance.choice((8, 16, 24))
        se = chance.choice(("", "", "_se0.25", "_se0.5", "_se0.1"))
        kind, expand = chance.choice((0, 0, 1)), chance.choice((1, 1, 2, 3, 4, 6))
        kernel, stride = chance.choice((1, 3, 3, 5, 5, 7)), chance.choice((1, 1, 2))
        repeats = chance.choice((1, 1, 2))
        blocks.append(f"r{repeats}_k{kernel}_s{stride}_e{expand}_i{channels}_o{out}_c{kind}{se}")
        channels = out
    return {
        "blocks": blocks,
        "size": size,
        "saved": chance.choice(SAVED),
        "include_top": chance.random() > 0.1,
        "model": {
            "act_fn": chance.choice(ACTIVATIONS),
            "bn_type": chance.choice((None, None, None, "tpu_bn", "tpu_bn", "gn" if chance.random() < 0.3 else None)),
            "bn_epsilon": chance.choice((1e-3, 1e-3, 1e-5, 1e-4, 2e-2)),
            "gn_groups": 4,
            "feature_size": chance.choice((16, 32, 40)),
            "num_classes": chance.choice((2, 5, 7)),
            "data_format": chance.choice(("channels_last", "channels_last", "channels_last", "channels_first")),
            "dropout_rate": chance.choice((0.0, 0.2, 0.5)),
            "conv_dropout": chance.choice((None, None, 0.1)),
            "survival_prob": chance.choice((None, 0.8, 0.5)),
            "width_coefficient": chance.choice((1.0, 1.0, 1.2)),
            "depth_coefficient": chance.choice((1.0, 1.0, 1.4)),
            "depth_divisor": 8,
            "min_depth": 8,
        },
    }


def build(code: tuple[Any, Any], drawn: dict[str, Any], **changes: Any) -> Any:
    """Make the network, not yet called."""
    model, configs = code
    settings = {**drawn["model"], "blocks_args": configs.BlockDecoder().decode(drawn["blocks"]), **changes}
    return model.EffNetV2Model("efficientnetv2-b0", settings, include_top=drawn["include_top"])


def values_of(variables: list[Any], seed: int) -> list[Any]:
    """Random values of a size that keeps activations near one."""
    generator = np.random.default_rng(seed)
    values = []
    for variable in variables:
        name, shape = variable.name.rpartition("/")[2], tuple(variable.shape)
        if name.startswith(("gamma", "moving_variance")):
            value = generator.uniform(0.5, 1.5, shape)
        elif "kernel" in name:
            fan = shape[0] * shape[1] if "depthwise" in name else int(np.prod(shape[:-1]))
            value = generator.normal(0, np.sqrt(2 / fan), shape)
        else:
            value = generator.normal(0, 0.1, shape)
        values.append(value.astype(np.float32))
    return values


def assign(session: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
    """Set variables to values."""
    given = {variable.initializer: (variable.initializer.inputs[1], value) for variable, value in pairs}
    session.run(list(given), {tensor: value.astype(tensor.dtype.as_numpy_dtype) for tensor, value in given.values()})


def truth(code: tuple[Any, Any], drawn: dict[str, Any], image: Any, values: list[Any]) -> Any:
    """Compute the logits in float64."""
    tf.keras.backend.set_floatx("float64")
    try:
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float64, image.shape)
            model = build(code, drawn, data_format="channels_last")
            logits = model(x, training=False)
            assign(session, zip(model.variables, values, strict=True))
            return session.run(logits, {x: image})
    finally:
        tf.keras.backend.set_floatx("float32")


def save_graph(code: tuple[Any, Any], drawn: dict[str, Any], shape: tuple[int, ...], folder: Path, seed: int) -> Any:
    """Save a graph of evaluation or training; the raw values of variables with averages are others."""
    training = drawn["saved"] in ("train", "averages")
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, *shape), name="images")
        model = build(code, drawn)
        logits = tf.identity(model(x, training=training), "logits")
        values = values_of(model.variables, seed)
        if training:
            labels = v1.placeholder(tf.int32, [None], name="labels")
            logits = logits if logits.shape.rank == 2 else tf.reduce_mean(logits, [1, 2])
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            loss += 1e-5 * tf.add_n([tf.nn.l2_loss(one) for one in model.trainable_variables])
            step = v1.train.get_or_create_global_step()
            train = v1.train.RMSPropOptimizer(0.01).minimize(loss, step)
        if drawn["saved"] == "averages":
            average = tf.train.ExponentialMovingAverage(0.99)
            with tf.control_dependencies([train]):
                average.apply(model.variables)
        session.run(v1.global_variables_initializer())
        pairs = list(zip(model.variables, values, strict=True))
        if drawn["saved"] == "averages":
            assign(session, [(average.average(variable), value) for variable, value in pairs])
            assign(session, [(variable, value + 1) for variable, value in pairs])
        else:
            assign(session, pairs)
        v1.train.Saver().save(session, str(folder / "model.ckpt-1"))
    return values


def save_model(code: tuple[Any, Any], drawn: dict[str, Any], shape: tuple[int, ...], folder: Path, seed: int) -> Any:
    """Save a SavedModel with one signature."""
    tf.keras.backend.clear_session()
    model = build(code, drawn)
    kind = tf.TensorSpec((None, *shape), tf.float32, name="image")
    serve = tf.function(lambda image: {"logits": model(image, training=False)}, autograph=False)
    concrete = serve.get_concrete_function(kind)
    values = values_of(model.variables, seed)
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)
    tf.saved_model.save(model, str(folder), signatures=concrete)
    return values


def make(code: tuple[Any, Any], number: int, folder: Path) -> dict[str, Any]:
    """Write one network; what TensorFlow or the released code refuses is recorded as such."""
    drawn = draw(number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    side = drawn["size"]
    image = np.random.default_rng(number).normal(size=(2, side, side, 3))
    shape = (3, side, side) if drawn["model"]["data_format"] == "channels_first" else (side, side, 3)
    save = save_model if drawn["saved"] == "saved_model" else save_graph
    try:
        values = save(code, drawn, shape, folder, number)
        np.savez(folder / "truth.npz", input=image, logits=truth(code, drawn, image, values))
    except Exception as error:
        drawn["failed"] = f"{type(error).__name__}: {error}"[:300]
    (folder / "drawn.json").write_text(json.dumps(drawn, indent=1) + "\n")
    return drawn


def main() -> None:
    """Write all networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("automl", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    code = load(options.automl)
    for number in range(options.first, options.first + options.count):
        drawn = make(code, number, options.out / f"{number:03d}")
        print(f"{number:03d}", drawn.get("failed", drawn["saved"]), flush=True)


if __name__ == "__main__":
    main()
