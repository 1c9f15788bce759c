"""Parts of a tensor by position."""

# ruff: noqa: B008 (a default binds what the loop has at that moment)
from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import integers, reals


def record(case):
    raw = tf.raw_ops
    case("Slice", lambda x: raw.Slice(input=x, begin=[0, 1, 2], size=[2, -1, 1]), reals(2, 3, 4))
    case("Slice/host", lambda x: raw.Slice(input=tf.shape(x), begin=[1], size=[2]), reals(2, 3, 4), unknown_shapes=True)
    case("Slice/empty", lambda x: raw.Slice(input=x, begin=[2], size=[0]), reals(4))
    slices = {
        "plain": lambda x: x[1:3, ::2],
        "negative": lambda x: x[-2:, -3:-1],
        "shrink": lambda x: x[1, :, -1],
        "new axes": lambda x: x[:, tf.newaxis, ..., tf.newaxis],
        "ellipsis": lambda x: x[..., 1],
        "ellipsis in the middle": lambda x: x[0, ..., ::3],
        "reverse": lambda x: x[::-1, :, ::-2],
        "reverse bounds": lambda x: x[2:0:-1, -1:-4:-2],
        "beyond": lambda x: x[1:100, -100:2],
        "empty": lambda x: x[3:1],
        "empty reverse": lambda x: x[0:2:-1],
        "all at once": lambda x: x[1, tf.newaxis, ..., 3:0:-1],
        "nothing": lambda x: x[...],
        "shrink and new": lambda x: x[tf.newaxis, 2, ..., 0],
        "stride over the end": lambda x: x[::7, 1::5],
    }
    for name, function in slices.items():
        case(f"StridedSlice/{name}", function, reals(3, 4, 5))
        case(
            f"StridedSlice/{name}/host",
            lambda x, f=function: [f(tf.constant(np.arange(60).reshape(3, 4, 5))), x],
            reals(1),
        )
    case(
        "StridedSlice/input",
        lambda x, b, e: raw.StridedSlice(input=x, begin=b, end=e, strides=[1]),
        reals(5),
        np.array([1], np.int32),
        np.array([4], np.int32),
    )
    case("StridedSlice/shape", lambda x: tf.shape(x)[1:-1], reals(2, 3, 4), unknown_shapes=True)
    case("Gather", lambda x, i: raw.Gather(params=x, indices=i), reals(4, 3), np.array([[0, 3], [1, 1]], np.int32))
    for axis in (0, 1, -1):
        case(
            f"GatherV2/{axis}",
            lambda x, i, a=axis: raw.GatherV2(params=x, indices=i, axis=a),
            reals(3, 3, 3),
            integers(2, 2, low=0, high=3),
        )
    case("GatherV2/scalar", lambda x: raw.GatherV2(params=x, indices=2, axis=1), reals(3, 4))
    case(
        "GatherV2/host",
        lambda x: raw.GatherV2(params=tf.shape(x), indices=[2, 0], axis=0),
        reals(2, 3, 4),
        unknown_shapes=True,
    )
    case("GatherV2/none", lambda x: raw.GatherV2(params=x, indices=np.zeros((0,), np.int32), axis=0), reals(3, 4))
    case(
        "GatherV2/batch",
        lambda x, i: raw.GatherV2(params=x, indices=i, axis=1, batch_dims=1),
        reals(2, 4, 3),
        integers(2, 2, low=0, high=4),
    )
    case(
        "GatherV2/batch later axis",
        lambda x, i: raw.GatherV2(params=x, indices=i, axis=2, batch_dims=1),
        reals(2, 3, 4, 2),
        integers(2, 3, low=0, high=4),
    )
    case(
        "GatherV2/batch twice",
        lambda x, i: raw.GatherV2(params=x, indices=i, axis=-1, batch_dims=2),
        reals(2, 3, 4),
        integers(2, 3, 2, low=0, high=4, dtype="int64"),
    )
    case(
        "GatherNd", lambda x, i: raw.GatherNd(params=x, indices=i), reals(3, 4, 2), np.array([[0, 1], [2, 3]], np.int32)
    )
    case(
        "GatherNd/full",
        lambda x, i: raw.GatherNd(params=x, indices=i),
        reals(3, 4),
        np.array([[[0, 1]], [[2, 3]]], np.int64),
    )
    case("GatherNd/all", lambda x: raw.GatherNd(params=x, indices=np.zeros((2, 0), np.int32)), reals(3, 2))
    case(
        "ScatterNd",
        lambda i, u: raw.ScatterNd(indices=i, updates=u, shape=[4, 2]),
        np.array([[1], [3], [1]], np.int32),
        reals(3, 2),
    )
    for name in ("TensorScatterUpdate", "TensorScatterAdd", "TensorScatterSub"):
        case(
            name,
            lambda x, i, u, op=getattr(raw, name): op(tensor=x, indices=i, updates=u),
            reals(4, 2),
            np.array([[1], [3]], np.int32),
            reals(2, 2),
        )
    for axis in (-1, 0, 1):
        case(
            f"OneHot/{axis}",
            lambda i, a=axis: raw.OneHot(
                indices=i,
                depth=4,
                on_value=tf.constant(2.5, tf.float64),
                off_value=tf.constant(-1.0, tf.float64),
                axis=a,
            ),
            np.array([[0, 3, -1], [4, 1, 2]], np.int32),
        )
    case("OneHot/ints", lambda i: raw.OneHot(indices=i, depth=3, on_value=1, off_value=0), np.array([2, 0], np.int64))
    repeated = np.array([[1.0, 3.0, 3.0, 2.0, 3.0], [5.0, 4.0, 5.0, 5.0, 1.0]])
    case("TopKV2", lambda x: raw.TopKV2(input=x, k=3), repeated)
    case("TopKV2/ints", lambda x, k: raw.TopKV2(input=x, k=k), integers(2, 6), np.int32(4))
    segments = np.array([0, 0, 2, 2, 2], np.int32)
    for name in ("SegmentSum", "SegmentMean", "SegmentMax", "SegmentMin", "SegmentProd"):
        case(name, lambda x, s, op=getattr(raw, name): op(data=x, segment_ids=s), reals(5, 3), segments)
    for name in ("UnsortedSegmentSum", "UnsortedSegmentMax", "UnsortedSegmentMin", "UnsortedSegmentProd"):
        op = getattr(raw, name)
        case(
            name,
            lambda x, s, op=op: op(data=x, segment_ids=s, num_segments=3),
            reals(5, 3),
            np.array([2, 0, -1, 2, 1], np.int32),
        )
        case(
            f"{name}/empty segments",
            lambda x, s, op=op: op(data=x, segment_ids=s, num_segments=4),
            integers(5, 3),
            np.array([3, 0, -1, 3, 1], np.int32),
        )
        case(
            f"{name}/two axes",
            lambda x, s, op=op: op(data=x, segment_ids=s, num_segments=2),
            reals(2, 2, 3),
            np.array([[1, 0], [0, 1]], np.int32),
        )
