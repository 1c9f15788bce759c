"""Make the arrays that the tests of preprocessing compare with: inputs.npz and expected.npz.

Run with TensorFlow 2.21 in an environment of its own; nothing else of the project needs it:

    python tests/data/preprocess/generate.py

The pipelines are written here from google/automl (folder efficientnetv2: preprocessing.py, preprocess_legacy.py) and
tensorflow/tpu (models/official/efficientnet), with arrays in place of encoded images.
Of each result every 17th row and column is kept, and its mean over the whole image.
"""

import pathlib

import numpy as np
import tensorflow as tf

HERE = pathlib.Path(__file__).parent
MEAN = [0.485 * 255, 0.456 * 255, 0.406 * 255]
STD = [0.229 * 255, 0.224 * 255, 0.225 * 255]
#: Height and width: odd, portrait, landscape, small, exact, and larger than any crop.
SHAPES = {
    "square": (97, 97),
    "portrait": (151, 100),
    "landscape": (83, 170),
    "small": (40, 37),
    "line": (1, 9),
    "exact": (128, 128),
    "large": (301, 230),
}
SIZES = (224, 300, 384)
STEP = 17


def image_of(height, width, seed):
    """Smooth shapes with noise, so that both the grid and the borders show."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 7 + channel) * np.cos(y / 11 - channel) for channel in range(3)], -1)
    return np.clip(128 + 90 * waves + rng.normal(0, 30, (height, width, 3)), 0, 255).astype(np.uint8)


def crop_size(image, size):
    shape = tf.shape(image)
    ratio = size / (size + 32)
    return shape[0], shape[1], tf.cast(ratio * tf.cast(tf.minimum(shape[0], shape[1]), tf.float32), tf.int32)


def v2(image, size):
    image = tf.constant(image)
    if size < 320:
        height, width, side = crop_size(image, size)
        image = tf.image.crop_to_bounding_box(image, (height - side) // 2, (width - side) // 2, side, side)
    image = tf.image.resize(image, [size, size])
    return (tf.cast(image, tf.float32) - 128.0) / 128.0


def v2_finetuned(image, size):
    image = (tf.cast(tf.constant(image), tf.float32) / 255.0 - 0.5) / 0.5
    return tf.image.resize(image, [size, size])


def legacy(image, size):
    image = tf.constant(image)
    height, width, side = crop_size(image, size)
    top, left = ((height - side) + 1) // 2, ((width - side) + 1) // 2
    image = tf.image.crop_to_bounding_box(image, top, left, side, side)
    return tf.compat.v1.image.resize_bicubic([image], [size, size])[0]


def v1(image, size):
    image = tf.image.convert_image_dtype(legacy(image, size), tf.float32)
    image -= tf.constant(MEAN, shape=(1, 1, 3), dtype=tf.float32)
    return image / tf.constant(STD, shape=(1, 1, 3), dtype=tf.float32)


def v1_advprop(image, size):
    return legacy(image, size) * (2.0 / 255) - 1.0


def lite(image, size):
    return (legacy(image, size) - 127.0) / 128.0


def keras_v2(image, size):
    return tf.image.resize(tf.constant(image), [size, size]) / 128.0 - 1.0


def keras_v1(image, size):
    image = tf.image.resize(tf.constant(image), [size, size]) / 255.0
    return (image - tf.constant([0.485, 0.456, 0.406])) / tf.sqrt(tf.constant([0.229**2, 0.224**2, 0.225**2]))


PIPELINES = {
    "v2": v2,
    "v2-finetuned": v2_finetuned,
    "v1": v1,
    "v1-advprop": v1_advprop,
    "lite": lite,
    "keras-v2": keras_v2,
    "keras-v1": keras_v1,
}


def main():
    images = {name: image_of(*shape, seed) for seed, (name, shape) in enumerate(SHAPES.items())}
    expected = {}
    for recipe, pipeline in PIPELINES.items():
        for name, image in images.items():
            for size in SIZES:
                if name == "line" and pipeline in (v1, v1_advprop, lite, v2) and size < 384:
                    continue  # the crop of one row is empty, and TensorFlow refuses it
                if name == "line" and pipeline in (v1, v1_advprop, lite):
                    continue
                result = pipeline(image, size).numpy()
                expected[f"{recipe}/{name}/{size}"] = result[::STEP, ::STEP]
                expected[f"{recipe}/{name}/{size}/mean"] = result.astype(np.float64).mean()
    np.savez_compressed(HERE / "inputs.npz", **images)
    np.savez_compressed(HERE / "expected.npz", **expected)


if __name__ == "__main__":
    main()
