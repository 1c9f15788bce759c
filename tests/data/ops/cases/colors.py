"""Contrast, hue and saturation, and projective transformation; TensorFlow has most of them in float32 only."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import single


def _image(*shape, seed=0):
    return single(np.round(np.random.default_rng([seed, *shape]).uniform(0, 1, shape) * 64) / 64)


def record(case):
    raw = tf.raw_ops
    image = _image(2, 4, 5, 3)
    image[0, 0, 0] = 0.5  # grey
    image[0, 0, 1] = 0
    image[0, 0, 2] = [1, 1, 0]
    for factor in (0.0, 0.5, 2.0):
        case(f"AdjustContrastv2/{factor}", lambda x, f=factor: raw.AdjustContrastv2(images=x, contrast_factor=f), image)
        case(f"AdjustSaturation/{factor}", lambda x, f=factor: raw.AdjustSaturation(images=x, scale=f), image)
    for delta in (0.0, 0.3, -0.7, 1.0):
        case(f"AdjustHue/{delta}", lambda x, d=delta: raw.AdjustHue(images=x, delta=d), image)
    case("RGBToHSV", lambda x: raw.RGBToHSV(images=x), image.astype(np.float64))
    case("HSVToRGB", lambda x: raw.HSVToRGB(images=x), image.astype(np.float64))
    turned = np.array([[0.9, 0.3, -1.25, -0.2, 1.1, 0.5, 0.01, -0.02], [1, 0, 7.5, 0, 1, -9.25, 0, 0]], np.float32)
    for mode in ("CONSTANT", "NEAREST", "WRAP", "REFLECT"):
        for interpolation in ("NEAREST", "BILINEAR"):
            case(
                f"ImageProjectiveTransformV3/{mode}/{interpolation}",
                lambda x, t, m=mode, i=interpolation: raw.ImageProjectiveTransformV3(
                    images=x, transforms=t, output_shape=[6, 5], fill_value=0.25, interpolation=i, fill_mode=m
                ),
                image,
                turned,
            )
    case(
        "ImageProjectiveTransformV2",
        lambda x, t: raw.ImageProjectiveTransformV2(
            images=x, transforms=t, output_shape=[4, 5], interpolation="BILINEAR"
        ),
        image,
        turned[:1],
    )
