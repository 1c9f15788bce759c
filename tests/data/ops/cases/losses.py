"""Losses and counts."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import integers, positive, reals


def record(case):
    raw = tf.raw_ops
    logits = reals(3, 5, scale=3)
    labels = positive(3, 5) / positive(3, 5).sum(1, keepdims=True)
    labels[0] = [0, 1, 0, 0, 0]
    extreme = logits.copy()
    extreme[0] = [1e4, -1e4, 0, 0, 0]
    for name, values in (("", logits), ("/extreme", extreme)):
        case(
            f"SoftmaxCrossEntropyWithLogits{name}",
            lambda x, y: [*raw.SoftmaxCrossEntropyWithLogits(features=x, labels=y)],
            values,
            labels,
        )
        case(
            f"SparseSoftmaxCrossEntropyWithLogits{name}",
            lambda x, y: [*raw.SparseSoftmaxCrossEntropyWithLogits(features=x, labels=y)],
            values,
            np.array([1, 4, 0], np.int32),
        )
    case(
        "SoftmaxCrossEntropyWithLogits/broadcast",
        lambda x, y: [*raw.SoftmaxCrossEntropyWithLogits(features=x, labels=y)],
        logits,
        labels[:1],
    )
    tied = np.array([[1, 2, 2, 0], [3, 3, 3, 3], [0, 1, 2, 3], [np.inf, 1, 0, 0]], np.float32)
    for k in (1, 2, 3):
        for target in ([1, 0, 3, 1], [2, 3, 0, 0], [3, 9, -1, 2]):
            case(
                f"InTopK/{k}/{target}",
                lambda x, y, k=k: raw.InTopK(predictions=x, targets=y, k=k),
                tied,
                np.array(target, np.int32),
            )
            case(
                f"InTopKV2/{k}/{target}",
                lambda x, y, k=k: raw.InTopKV2(predictions=x, targets=y, k=k),
                tied,
                np.array(target, np.int32),
            )
    numbers = integers(2, 7, low=0, high=6)
    for kind in (np.float64, np.int32):
        case(
            f"Bincount/{kind.__name__}",
            lambda x, w: raw.Bincount(arr=x, size=5, weights=w),
            numbers,
            integers(2, 7).astype(kind),
        )
        case(
            f"Bincount/counts/{kind.__name__}",
            lambda x, k=kind: raw.Bincount(arr=x, size=5, weights=tf.constant([], k)),
            numbers,
        )
        for binary in (False, True):
            case(
                f"DenseBincount/{kind.__name__}/{binary}",
                lambda x, k=kind, b=binary: raw.DenseBincount(
                    input=x, size=5, weights=tf.constant([], k), binary_output=b
                ),
                numbers,
            )
    case("DenseBincount/weights", lambda x, w: raw.DenseBincount(input=x, size=5, weights=w), numbers, reals(2, 7))
    case(
        "DenseBincount/vector",
        lambda x: raw.DenseBincount(input=x, size=4, weights=tf.constant([], tf.float64)),
        numbers[0],
    )
    case(
        "ListDiff",
        lambda x, y: [*raw.ListDiff(x=x, y=y)],
        np.array([5, 1, 5, 2, 3], np.int32),
        np.array([1, 3, 9], np.int32),
    )
    case(
        "ListDiff/floats",
        lambda x, y: [*raw.ListDiff(x=x, y=y, out_idx=tf.int64)],
        np.array([0.5, 1, 2]),
        np.array([1.0]),
    )
