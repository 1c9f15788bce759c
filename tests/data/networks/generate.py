"""Make networks with real TensorFlow, and record what it computes with them.

Usage, in an environment with TensorFlow 2.21 and tf_keras: `python tests/data/networks/generate.py`

Each network is a folder: `saved_model.pb.xz`, the graph with the signature `serving_default`; `variables.index`, the
checkpoint without its data, which `recipe.py` gives; `objects.xz`, the object graph that follows the values in the
data; and `golden.npz` with inputs and outputs.
`NAME` is what TensorFlow computes in float32, `NAME64` the same network built and run in float64.
"""

from __future__ import annotations

import lzma
import os
import pathlib
import shutil
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf
import tf_keras as keras

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER))

from recipe import values  # noqa: E402 (beside this script)


def mobilenetv2():
    """MobileNetV2 of Keras applications, the narrowest one."""
    return keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, weights=None, classes=10, classifier_activation=None)


def resnet50():
    """ResNet50 of Keras applications, an eighth as wide."""
    from tf_keras.src.applications.resnet import ResNet, stack1

    def stages(x):
        for name, (width, blocks, stride) in zip(
            ("conv2", "conv3", "conv4", "conv5"), ((8, 3, 1), (16, 4, 2), (32, 6, 2), (64, 3, 2)), strict=True
        ):
            x = stack1(x, width, blocks, stride1=stride, name=name)
        return x

    return ResNet(
        stages, False, True, "resnet50", weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None
    )


def bert():
    """A BERT encoder: token, position and segment embeddings, two layers of attention with a mask, and a pooler."""
    width, heads, length, words = 32, 4, 12, 50
    tokens, mask, segments = (
        keras.Input((length,), dtype="int32", name=name) for name in ("tokens", "mask", "segments")
    )
    x = keras.layers.Embedding(words, width, name="word_embeddings")(tokens)
    x += keras.layers.Embedding(2, width, name="type_embeddings")(segments)
    positions = keras.layers.Lambda(lambda t: tf.range(tf.shape(t)[1]), name="positions")(tokens)
    x += keras.layers.Embedding(length, width, name="position_embeddings")(positions)
    x = keras.layers.LayerNormalization(epsilon=0.001, name="embeddings_norm")(x)
    attention_mask = mask[:, tf.newaxis, :]
    for layer in range(2):
        attended = keras.layers.MultiHeadAttention(heads, width // heads, name=f"layer_{layer}_attention")(
            x, x, attention_mask=attention_mask
        )
        x = keras.layers.LayerNormalization(epsilon=0.001, name=f"layer_{layer}_attention_norm")(x + attended)
        inner = keras.layers.Dense(2 * width, activation="gelu", name=f"layer_{layer}_intermediate")(x)
        inner = keras.layers.Dense(width, name=f"layer_{layer}_output")(inner)
        x = keras.layers.LayerNormalization(epsilon=0.001, name=f"layer_{layer}_output_norm")(x + inner)
    pooled = keras.layers.Dense(width, activation="tanh", name="pooler")(x[:, 0])
    return keras.Model([tokens, mask, segments], [x, pooled])


def images(generator):
    """Three images."""
    return {"image": (generator.integers(-128, 128, (3, 64, 64, 3)) / 128).astype(np.float32)}


def sentences(generator):
    """Two sentences of different lengths."""
    lengths = np.array([[12], [7]])
    return {
        "tokens": generator.integers(0, 50, (2, 12)).astype(np.int32),
        "mask": (np.arange(12) < lengths).astype(np.int32),
        "segments": (np.arange(12) >= lengths // 2).astype(np.int32),
    }


NETWORKS = {
    "mobilenetv2": (mobilenetv2, images, ("logits",)),
    "resnet50": (resnet50, images, ("logits",)),
    "bert": (bert, sentences, ("sequence", "pooled")),
}


class Served(tf.Module):
    """A model whose variables are saved as a list, with one function."""

    def __init__(self, model, names, inputs):
        super().__init__()
        self.variables_list = list(model.variables)
        kinds = {
            name: tf.TensorSpec([None, *array.shape[1:]], array.dtype, name=name) for name, array in inputs.items()
        }

        def serve(**given):
            outputs = model(
                [given[name] for name in kinds] if len(kinds) > 1 else next(iter(given.values())), training=False
            )
            outputs = outputs if isinstance(outputs, list) else [outputs]
            return dict(zip(names, outputs, strict=True))

        self.serve = tf.function(serve, autograph=False).get_concrete_function(**kinds)


def set_values(model):
    """Give every variable the values of its key."""
    for position, variable in enumerate(model.variables):
        variable.assign(values(f"variables_list/{position}/.ATTRIBUTES/VARIABLE_VALUE", tuple(variable.shape)))


def record(name):
    """Make one network's folder."""
    build, make_inputs, outputs = NETWORKS[name]
    inputs = make_inputs(np.random.default_rng(5))
    golden = {f"input:{key}": array for key, array in inputs.items()}
    for dtype, suffix in (("float64", "64"), ("float32", "")):
        keras.backend.clear_session()
        keras.backend.set_floatx(dtype)
        model = build()
        set_values(model)
        given = {key: array.astype(dtype) if array.dtype.kind == "f" else array for key, array in inputs.items()}
        served = Served(model, outputs, given)
        results = served.serve(**{key: tf.constant(array) for key, array in given.items()})
        golden |= {f"{key}{suffix}": tensor.numpy() for key, tensor in results.items()}
    folder = FOLDER / name
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        options = tf.saved_model.SaveOptions(save_debug_info=False)
        tf.saved_model.save(served, place, signatures=served.serve, options=options)
        graph = (pathlib.Path(place) / "saved_model.pb").read_bytes()
        (folder / "saved_model.pb.xz").write_bytes(lzma.compress(graph, preset=9 | lzma.PRESET_EXTREME))
        saved = pathlib.Path(place) / "variables"
        shutil.copy(saved / "variables.index", folder / "variables.index")
        numbers = sum(tf.size(variable).numpy() * 4 for variable in served.variables_list)
        data = (saved / "variables.data-00000-of-00001").read_bytes()
        (folder / "objects.xz").write_bytes(lzma.compress(data[numbers:], preset=9))
    np.savez_compressed(folder / "golden.npz", **golden)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    noise = {
        key: float(np.abs(golden[key] - golden[f"{key}64"]).max() / np.abs(golden[f"{key}64"]).max()) for key in outputs
    }
    print(name, sizes, "noise", noise)


if __name__ == "__main__":
    for network in sys.argv[1:] or NETWORKS:
        record(network)
