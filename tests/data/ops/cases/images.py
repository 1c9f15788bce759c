"""Images in other sizes."""

# ruff: noqa: B008 (a default binds what the loop has at that moment)
from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import integers, reals, single

_GRIDS = {"legacy": {}, "corners": {"align_corners": True}, "half pixel": {"half_pixel_centers": True}}
_SIZES = ((3, 7), (10, 12), (5, 5), (1, 1), (9, 2))


def record(case):
    raw = tf.raw_ops
    for name in ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic"):
        for grid, options in _GRIDS.items():
            for size in _SIZES:
                values = reals(1, 5, 6, 2) if name == "ResizeNearestNeighbor" else single(reals(1, 5, 6, 2))
                case(
                    f"{name}/{grid}/{size}",
                    lambda x, op=getattr(raw, name), o=options, s=size: op(images=x, size=s, **o),
                    values,
                )
        case(
            f"{name}/bytes",
            lambda x, op=getattr(raw, name): op(images=x, size=(4, 7)),
            integers(1, 3, 3, 2, low=0, high=255, dtype="uint8"),
        )
        case(
            f"{name}/by input",
            lambda x, s, op=getattr(raw, name): op(images=x, size=s),
            single(reals(1, 3, 4, 2)),
            np.array([5, 3], np.int32),
        )
    case(
        "ResizeNearestNeighbor/halves",
        lambda x: raw.ResizeNearestNeighbor(images=x, size=(7, 7), align_corners=True),
        reals(1, 4, 10, 1),
    )
    for corners in (False, True):
        for size in _SIZES:
            case(
                f"ResizeArea/{corners}/{size}",
                lambda x, c=corners, s=size: raw.ResizeArea(images=x, size=s, align_corners=c),
                single(reals(1, 5, 6, 2)),
            )
    for kind in ("lanczos1", "lanczos3", "lanczos5", "gaussian", "box", "triangle", "keyscubic"):
        for antialias in (False, True):
            for size in ((3, 9), (8, 4)):

                def build(x, k=kind, a=antialias, s=size):
                    scale = tf.constant([s[0] / 6, s[1] / 6], tf.float32)
                    return raw.ScaleAndTranslate(
                        images=x, size=s, scale=scale, translation=[0.0, 0.0], kernel_type=k, antialias=a
                    )

                case(f"ScaleAndTranslate/{kind}/{antialias}/{size}", build, single(reals(1, 6, 6, 1)))
    case(
        "ScaleAndTranslate/moved",
        lambda x: raw.ScaleAndTranslate(
            images=x, size=(5, 5), scale=[0.75, 1.5], translation=[1.0, -2.25], kernel_type="triangle"
        ),
        single(reals(1, 6, 6, 1)),
    )
    for method in ("bilinear", "area", "bicubic", "lanczos3", "nearest"):
        case(
            f"tf.image.resize/{method}",
            lambda x, m=method: tf.image.resize(x, (4, 9), method=m, antialias=m in ("lanczos3",)),
            single(reals(1, 6, 6, 1)),
        )
    boxes = single(
        np.array([[0.0, 0.0, 1.0, 1.0], [0.25, 0.125, 0.75, 0.5], [0.5, 1.0, -0.25, 0.25], [0.0, 0.5, 1.5, 1.25]])
    )
    owners = np.array([0, 1, 0, 1], np.int32)
    for method in ("bilinear", "nearest"):
        case(
            f"CropAndResize/{method}",
            lambda x, m=method: raw.CropAndResize(
                image=x, boxes=boxes, box_ind=owners, crop_size=(3, 4), method=m, extrapolation_value=9.0
            ),
            single(reals(2, 5, 6, 2)),
        )
    case(
        "CropAndResize/one pixel",
        lambda x: raw.CropAndResize(image=x, boxes=boxes[:2], box_ind=owners[:2], crop_size=(1, 1)),
        single(reals(2, 5, 6, 2)),
    )
