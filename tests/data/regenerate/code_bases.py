"""Write the networks of tests/data/codebases with real TensorFlow and the packages that build them.

Run from the root of the repository, in the environment that regenerate.py describes, with a folder that has
tf-models-official 2.20.0, keras-efficientnet-v2 1.2.2, kecam 1.4.3 (`pip install --no-deps --target FOLDER`)::

    TF_USE_LEGACY_KERAS=1 .tensorflow/bin/python tests/data/regenerate/code_bases.py FOLDER [CASE ...]

README.md in tests/data/codebases tells what every case is.
Values are random, of a size that keeps activations near one, and multiples of 1/64, which compress well.
"""

from __future__ import annotations

import gzip
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src.saving.legacy.saved_model.utils import keras_option_scope

TARGET = Path(__file__).resolve().parent.parent / "codebases"
SIZE = 37
#: Cases that are saved as a checkpoint only, because their SavedModel would show nothing new.
WITHOUT_GRAPH = ("garden-vision", "kecam-v1", "keras-efficientnet-v2")


def garden() -> Any:
    """Model Garden's legacy EfficientNet, an eighth as wide; without its softmax and its scaling of pixels."""
    from official.legacy.image_classification.efficientnet import efficientnet_model as code

    rows = ((32, 16, 3, 1, 1, (1, 1), 0.25), (16, 24, 5, 2, 6, (2, 2), 0.25), (24, 40, 3, 1, 6, (2, 2), 0.25))
    config = code.ModelConfig(
        width_coefficient=0.25,
        depth_coefficient=1.0,
        blocks=tuple(code.BlockConfig.from_args(*row) for row in rows),
        top_base_filters=160,
        num_classes=5,
        rescale_input=False,
        dtype=tf_keras.backend.floatx(),
    )
    image = tf_keras.Input((SIZE, SIZE, 3))
    model = tf_keras.Model(image, code.efficientnet(image, config))
    return tf_keras.Model(image, model.get_layer("logits").output)


def garden_vision(**changes: Any) -> Any:
    """Model Garden's EfficientNet of official.vision in its classifier, a quarter as wide, with fewer blocks."""
    from official.vision.modeling.backbones import efficientnet as code
    from official.vision.modeling.classification_model import ClassificationModel

    rows = ((1, 3, 1, 1, 32, 32), (2, 3, 2, 6, 32, 32), (1, 5, 2, 2, 32, 64), (1, 3, 2, 2, 64, 64))
    rows += ((1, 5, 1, 2, 64, 96), (1, 5, 2, 2, 96, 128), (1, 3, 1, 2, 128, 160))
    code.EN_B0_BLOCK_SPECS[:] = [("mbconv", *row, True) for row in rows]
    code.SCALING_MAP["b0"] = {"width_scale": 0.25, "depth_scale": 1.0}
    specs = tf_keras.layers.InputSpec(shape=[None, SIZE, SIZE, 3])
    backbone = code.EfficientNet("b0", input_specs=specs, **changes)
    return ClassificationModel(backbone, 5, input_specs=specs)


def garden_vision_gates() -> Any:
    """The same with squeeze-and-excitation, whose own activation stays relu, and swish elsewhere."""
    return garden_vision(se_ratio=0.25, activation="swish")


def train(model: Any, folder: str) -> list[Any]:
    """Write a checkpoint with the moving averages of Model Garden's optimizer, and return the averaged weights."""
    from official.modeling.optimization.ema_optimizer import ExponentialMovingAverage

    optimizer = ExponentialMovingAverage(tf_keras.optimizers.legacy.SGD())
    optimizer.shadow_copy(model)
    slots = {variable.ref(): optimizer.get_slot(variable, "average") for variable in model.trainable_variables}
    for variable in model.trainable_variables:
        slots[variable.ref()].assign(variable + tf.round(variable * 8) / 64)
    tf.train.Checkpoint(model=model, optimizer=optimizer).write(f"{folder}/training/ckpt-1")
    return [slots.get(variable.ref(), variable).numpy() for variable in model.weights]


def kecam(**changes: Any) -> Any:
    """EfficientNetV2 of keras_cv_attention_models, a quarter as wide, with one block of every form."""
    from keras_cv_attention_models.efficientnet import efficientnet_v2 as code

    return code.EfficientNetV2(
        **{
            "expands": [1, 4, 4],
            "out_channels": [8, 8, 16],
            "depthes": [1, 2, 2],
            "strides": [1, 2, 2],
            "se_ratios": [0, 0, 0.25],
            "first_conv_filter": 8,
            "output_conv_filter": 40,
            "input_shape": (SIZE, SIZE, 3),
            "num_classes": 5,
            "classifier_activation": None,
            "pretrained": None,
            **changes,
        }
    )


def kecam_v1() -> Any:
    """EfficientNet of the same package, whose MBConv blocks are those of version 1."""
    return kecam(expands=[1, 6], out_channels=[8, 16], depthes=[1, 2], strides=[1, 2], se_ratios=[0.25, 0.25])


def kecam_torch() -> Any:
    """The same in PyTorch mode: symmetric padding and epsilon 1e-5."""
    return kecam(is_torch_mode=True)


def keras_efficientnet_v2() -> Any:
    """EfficientNetV2 of the older package of the same author."""
    from keras_efficientnet_v2 import efficientnet_v2 as code

    rows = {"first_conv_filter": 8, "output_conv_filter": 40, "expands": [1, 4, 4], "out_channels": [8, 8, 16]}
    rows |= {"depthes": [1, 2, 2], "strides": [1, 2, 2], "use_ses": [0, 0, 1]}
    return code.EfficientNetV2(
        {"b0": rows}, (SIZE, SIZE, 3), num_classes=5, classifier_activation=None, pretrained=None
    )


def fill(model: Any) -> None:
    """Give random values to a model's variables."""
    generator = np.random.default_rng(4)
    values = []
    for variable in model.weights:
        last, shape = variable.name.split("/")[-1].split(":")[0], tuple(variable.shape)
        if last in ("gamma", "moving_variance"):
            value = generator.uniform(0.5, 1.5, shape)
        elif last in ("kernel", "depthwise_kernel"):
            fan = shape[0] * shape[1] if last == "depthwise_kernel" else np.prod(shape[:-1])
            value = generator.normal(0, np.sqrt(2 / fan), shape)
        else:
            value = generator.normal(0, 0.1, shape)
        values.append((np.round(64 * value) / 64).astype(np.float32))
    model.set_weights(values)


def record(name: str, build: Callable[[], Any]) -> None:
    """Write a checkpoint and a SavedModel of a network, and its logits in float64."""
    tf_keras.backend.clear_session()
    model = build()
    fill(model)
    images = (np.random.default_rng(5).integers(-128, 129, (1, SIZE, SIZE, 3)) / 64).astype(np.float32)
    tf_keras.backend.set_floatx("float64")
    tf_keras.backend.clear_session()
    exact = build()
    tf_keras.backend.set_floatx("float32")

    def compute(weights: list[Any]) -> Any:
        exact.set_weights([value.astype(np.float64) for value in weights])
        # These packages' classifiers are float32 in every case, so the last layer is computed here.
        body = tf_keras.Model(exact.input, exact.layers[-1].input)
        features = body(images.astype(np.float64), training=False).numpy()
        assert features.dtype == np.float64
        kernel, bias = (value.astype(np.float64) for value in weights[-2:])
        return features @ kernel + bias

    TARGET.mkdir(exist_ok=True)
    truth = {"input": images, "logits64": compute(model.get_weights())}
    with tempfile.TemporaryDirectory() as folder:
        if name == "garden-vision":
            truth["averaged64"] = compute(train(model, folder))
        else:
            model.save_weights(f"{folder}/checkpoint/weights")
        np.savez_compressed(TARGET / f"{name}.npz", **truth)
        if name in WITHOUT_GRAPH:
            pack(Path(folder), TARGET / f"{name}.tgz")
            return
        served = tf.function(lambda image: {"logits": model(image, training=False)}).get_concrete_function(
            tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, "image")
        )
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False, save_debug_info=False)
        # Without the functions of each layer, which nothing here calls, archives of nested models are half as large.
        with keras_option_scope(save_traces=not name.startswith("garden-vision")):
            tf.saved_model.save(model, f"{folder}/saved_model", {"serving_default": served}, options)
        pack(Path(folder), TARGET / f"{name}.tgz")
    print(name, {path.name: path.stat().st_size for path in sorted(TARGET.glob(f"{name}.*"))})


def pack(folder: Path, path: Path) -> None:
    """Write the files of a folder to an archive, the same bytes every time."""
    with gzip.GzipFile(path, "wb", 9, mtime=0) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for member in sorted(folder.rglob("*")):
            if member.is_file():
                entry = tarfile.TarInfo(str(member.relative_to(folder)))
                entry.size = member.stat().st_size
                with member.open("rb") as content:
                    archive.addfile(entry, content)


CASES = {
    "garden-legacy": garden,
    "garden-vision": garden_vision,
    "garden-vision-gates": garden_vision_gates,
    "kecam": kecam,
    "kecam-v1": kecam_v1,
    "kecam-torch": kecam_torch,
    "keras-efficientnet-v2": keras_efficientnet_v2,
}


def main() -> None:
    """Make the named cases, or all."""
    folder, *names = sys.argv[1:]
    sys.path.append(folder)
    for name in names or CASES:
        record(name, CASES[name])


if __name__ == "__main__":
    main()
