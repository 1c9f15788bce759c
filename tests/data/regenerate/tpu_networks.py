"""Write the networks of tests/data/tpu with real TensorFlow and the released code of tensorflow/tpu.

Run from the root of the repository, in the environment that regenerate.py describes, with a copy of the folder
models/official/efficientnet of tensorflow/tpu::

    TF_USE_LEGACY_KERAS=1 .tensorflow/bin/python tests/data/regenerate/tpu_networks.py FOLDER [CASE ...]

README.md in tests/data/tpu tells what every case is.
Values are random, of a size that keeps activations near one, and multiples of 1/64, which compress well; each average
differs from its variable.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow.compat.v1 as tf

TARGET = Path(__file__).resolve().parent.parent / "tpu"
SIZE = 37
AVERAGE = "/ExponentialMovingAverage"
#: Ends of the names of an optimizer's variables, which are not saved: they would double the archive.
SLOTS = ("/RMSProp", "/RMSProp_1", "/Momentum")
#: Stages in the style of Lite, and of EdgeTPU-L: 64 channels from the nominal 16 and not from 24, without addition.
BLOCKS = {
    "lite": ["r1_k3_s11_e1_i32_o16_se0.25", "r2_k3_s22_e6_i16_o24_se0.25", "r2_k5_s22_e6_i24_o40_se0.25"],
    "edgetpu": ["r1_k3_s11_e4_i24_o24_c1_noskip", "r2_k3_s22_e3_i24_o16_c1", "r1_k5_s22_e4_i16_o16"],
    "trained": ["r1_k3_s11_e1_i32_o16_se0.25", "r2_k3_s22_e3_i16_o24_se0.25"],
}
WIDTHS = {"lite": 0.25, "edgetpu": 0.6, "trained": 0.25}
NAMES = {"lite": "efficientnet-lite0", "edgetpu": "efficientnet-edgetpu-L", "trained": "efficientnet-lite0"}
#: Networks whose names and shapes are recorded: the published ones, and two kinds that are refused.
LITE = [f"efficientnet-lite{number}" for number in range(5)]
EDGETPU = [f"efficientnet-edgetpu-{size}" for size in "SML"]
REFUSED = ["efficientnet-condconv-b0-4e", "efficientnet-x-b0", "efficientnet-x-b5"]


def build(case: str, images: Any, *, training: bool = False, **changes: Any) -> Any:
    """Build a narrow network with the settings of a published one, and return its logits.

    In training its batch norms are those for TPUs, as in the released program.
    """
    import efficientnet_builder
    import efficientnet_model
    import utils
    from edgetpu import efficientnet_edgetpu_builder
    from lite import efficientnet_lite_builder

    builder = efficientnet_edgetpu_builder if case == "edgetpu" else efficientnet_lite_builder
    _, settings = builder.get_model_params(NAMES[case], None)
    settings = settings._replace(
        width_coefficient=WIDTHS[case],
        num_classes=5,
        fix_head_stem=False,
        batch_norm=utils.TpuBatchNormalization if training else functools.partial(utils.BatchNormalization, **changes),
    )
    blocks = efficientnet_builder.BlockDecoder().decode(BLOCKS[case])
    with tf.variable_scope(NAMES[case]):
        logits = efficientnet_model.Model(blocks, settings)(images, training=training)
    return tf.identity(logits, "logits")


def train(logits: Any) -> None:
    """Add the loss and the step of an optimizer as the released program does."""
    import utils

    labels = tf.one_hot(tf.placeholder(tf.int32, (None,), "labels"), 5)
    loss = tf.losses.softmax_cross_entropy(logits=logits, onehot_labels=labels, label_smoothing=0.1)
    loss += 1e-5 * tf.add_n([tf.nn.l2_loss(variable) for variable in tf.trainable_variables()])
    optimizer = utils.build_optimizer(0.016, "rmsprop")
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        optimizer.minimize(loss, tf.train.get_or_create_global_step())


def draw(variables: list[Any], generator: Any) -> Iterator[Any]:
    """Yield random values for variables."""
    for variable in variables:
        name, shape = variable.op.name.removesuffix(AVERAGE), tuple(variable.shape.as_list())
        if name.endswith(("gamma", "moving_variance")):
            value = generator.uniform(0.5, 1.5, shape)
        elif "kernel" in name:
            fan = shape[0] * shape[1] if "depthwise" in name else int(np.prod(shape[:-1]))
            value = generator.normal(0, np.sqrt(2 / fan), shape)
        else:
            value = generator.normal(0, 0.1, shape)
        yield (np.round(64 * value) / 64).astype(np.float32)


def record(case: str) -> None:
    """Write a checkpoint with averages and graph, and the logits of raw and averaged values in float64."""
    import utils

    TARGET.mkdir(exist_ok=True)
    generator = np.random.default_rng(3)
    values: dict[str, Any] = {}
    with tf.Graph().as_default(), tf.Session() as session:
        logits = build(case, tf.placeholder(tf.float32, (None, SIZE, SIZE, 3), "images"), training=case == "trained")
        if case == "trained":
            train(logits)
        tf.train.get_or_create_global_step()
        averages = tf.train.ExponentialMovingAverage(0.9)
        averages.apply(sorted(utils.get_ema_vars(), key=lambda variable: variable.op.name))
        session.run(tf.global_variables_initializer())
        kept = [variable for variable in tf.global_variables() if not variable.op.name.endswith(SLOTS)]
        variables = [variable for variable in kept if "global_step" not in variable.op.name]
        for variable, value in zip(variables, draw(variables, generator), strict=True):
            variable.load(value, session)
            values[variable.op.name] = value
        with tempfile.TemporaryDirectory() as folder:
            tf.train.Saver(kept).save(session, f"{folder}/model.ckpt")
            pack(Path(folder), TARGET / f"{case}.tgz", NAMES[case])
    images = generator.normal(0, 1, (2, SIZE, SIZE, 3)).astype(np.float32)
    np.savez_compressed(
        TARGET / f"{case}.npz",
        input=images,
        raw64=run64(case, images, values, ""),
        ema64=run64(case, images, values, AVERAGE),
    )
    print(case, {path.name: path.stat().st_size for path in sorted(TARGET.glob(f"{case}.*"))})


def pack(folder: Path, path: Path, root: str) -> None:
    """Write the files of a folder to an archive, the same bytes every time."""
    with gzip.GzipFile(path, "wb", 9, mtime=0) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for member in sorted(folder.iterdir()):
            entry = tarfile.TarInfo(f"{root}/{member.name}")
            entry.size = member.stat().st_size
            with member.open("rb") as content:
                archive.addfile(entry, content)


def run64(case: str, images: Any, values: dict[str, Any], suffix: str) -> Any:
    """Return the logits of the same network in float64; fused batch norms have no kernel for it."""
    tf.keras.backend.set_floatx("float64")
    with tf.Graph().as_default(), tf.Session() as session:
        logits = build(case, tf.constant(images.astype(np.float64)), fused=False)
        for variable in tf.global_variables():
            variable.load(values[variable.op.name + suffix].astype(np.float64), session)
        result = session.run(logits)
    tf.keras.backend.set_floatx("float32")
    assert result.dtype == np.float64
    return result


def record_names(name: str) -> dict[str, Any]:
    """Return name -> shape of the variables of a network in its full size."""
    import model_builder_factory

    builder = model_builder_factory.get_model_builder(name)
    with tf.Graph().as_default():
        builder.build_model(tf.zeros((1, 64, 64, 3)), model_name=name, training=False)
        variables = {variable.op.name: variable.shape.as_list() for variable in tf.global_variables()}
        trained = sum(int(np.prod(variable.shape.as_list())) for variable in tf.trainable_variables())
    print(name, len(variables), trained, flush=True)
    return {"parameters": trained, "variables": variables}


def record_published() -> None:
    """Write names and shapes of the published networks, and of two kinds that are refused."""
    TARGET.mkdir(exist_ok=True)
    tables = {name: record_names(name) for name in (*LITE, *EDGETPU, *REFUSED)}
    data = json.dumps(tables, separators=(",", ":")).encode()
    (TARGET / "published.json.gz").write_bytes(gzip.compress(data, 9, mtime=0))


def main() -> None:
    """Make the named cases, or all."""
    folder, *cases = sys.argv[1:]
    sys.path.insert(0, folder)
    tf.disable_v2_behavior()
    for case in cases or ["lite", "edgetpu", "trained", "published"]:
        record_published() if case == "published" else record(case)


if __name__ == "__main__":
    main()
