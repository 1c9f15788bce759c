"""Largest and mean values of windows."""

# ruff: noqa: B008 (a default binds what the loop has at that moment)
from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import reals, single
from cases.convolution import _to_first, _to_last


def record(case):
    raw = tf.raw_ops
    for name, key in (("MaxPool", "input"), ("AvgPool", "value")):
        op = getattr(raw, name)
        for size in (6, 7):
            for kernel, stride in ((2, 2), (3, 2), (3, 1), (2, 1), (3, 3), (5, 2)):
                for padding in ("SAME", "VALID"):
                    case(
                        f"{name}/{padding}/size {size}/kernel {kernel}/stride {stride}",
                        lambda x, op=op, key=key, k=kernel, s=stride, p=padding: op(
                            **{key: x}, ksize=[1, k, k, 1], strides=[1, s, s, 1], padding=p
                        ),
                        reals(1, size, size + 1, 2) - 3,
                    )
        case(
            f"{name}/rectangle",
            lambda x, op=op, key=key: op(**{key: x}, ksize=[1, 1, 3, 1], strides=[1, 2, 1, 1], padding="SAME"),
            reals(2, 5, 5, 2) - 3,
        )
        case(
            f"{name}/NCHW",
            lambda x, op=op, key=key: op(
                **{key: x}, ksize=[1, 1, 3, 3], strides=[1, 1, 2, 2], padding="SAME", data_format="NCHW"
            ),
            reals(1, 2, 6, 6) - 3,
            exact=lambda x, op=op, key=key: _to_first(
                op(**{key: _to_last(x)}, ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="SAME")
            ),
        )
    case(
        "MaxPool/EXPLICIT",
        lambda x: raw.MaxPool(
            input=x,
            ksize=[1, 3, 3, 1],
            strides=[1, 2, 2, 1],
            padding="EXPLICIT",
            explicit_paddings=[0, 0, 1, 0, 2, 1, 0, 0],
        ),
        reals(1, 6, 6, 2) - 3,
    )
    case(
        "MaxPoolV2",
        lambda x: raw.MaxPoolV2(input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME"),
        reals(1, 5, 5, 2) - 3,
    )
    case(
        "MaxPool/int32",
        lambda x: raw.MaxPool(input=x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME"),
        np.round(reals(1, 5, 5, 1) * 5).astype(np.int32) - 9,
    )
    for name in ("MaxPool3D", "AvgPool3D"):
        for padding in ("SAME", "VALID"):
            case(
                f"{name}/{padding}",
                lambda x, op=getattr(raw, name), p=padding: op(
                    input=x, ksize=[1, 2, 3, 2, 1], strides=[1, 2, 2, 1, 1], padding=p
                ),
                single(reals(1, 5, 5, 4, 2) - 3),
            )
    for padding in ("SAME", "VALID"):
        for batch in (False, True):
            case(
                f"MaxPoolWithArgmax/{padding}/{batch}",
                lambda x, p=padding, b=batch: [
                    *tf.raw_ops.MaxPoolWithArgmax(
                        input=x, ksize=[1, 3, 2, 1], strides=[1, 2, 2, 1], padding=p, include_batch_in_index=b
                    )
                ],
                reals(2, 6, 7, 3),
            )
        for rate in (1, 2):
            case(
                f"Dilation2D/{padding}/{rate}",
                lambda x, k, p=padding, r=rate: tf.raw_ops.Dilation2D(
                    input=x, filter=k, strides=[1, 2, 1, 1], rates=[1, r, r, 1], padding=p
                ),
                reals(2, 7, 6, 3),
                reals(3, 2, 3),
            )
