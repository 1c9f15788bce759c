"""Shapes, and the same elements in another shape."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import integers, reals


def record(case):
    for out in (tf.int32, tf.int64):
        case(
            f"Shape/{out.name}",
            lambda x, o=out: tf.raw_ops.Shape(input=x, out_type=o),
            reals(2, 0, 3),
            unknown_shapes=True,
        )
        case(
            f"Size/{out.name}",
            lambda x, o=out: tf.raw_ops.Size(input=x, out_type=o),
            reals(2, 3, 4),
            unknown_shapes=True,
        )
        case(
            f"ShapeN/{out.name}",
            lambda x, y, o=out: tf.raw_ops.ShapeN(input=[x, y], out_type=o),
            reals(2, 3),
            reals(4),
            unknown_shapes=True,
        )
    case("Rank", lambda x: tf.raw_ops.Rank(input=x), reals(2, 3, 4), unknown_shapes=True)
    case(
        "Rank/scalar",
        lambda x: [tf.raw_ops.Rank(input=x), tf.raw_ops.Shape(input=x)],
        np.float64(3),
        unknown_shapes=True,
    )
    for name, source, target in (
        ("plain", (2, 6), (3, 4)),
        ("inferred", (2, 6), (4, -1)),
        ("to scalar", (1, 1), ()),
        ("empty", (0, 3), (3, 0)),
        ("empty inferred", (0, 3), (-1, 3)),
        ("empty with zero", (2, 0), (0, 5)),
        ("from scalar", (), (1, 1)),
    ):
        case(
            f"Reshape/{name}",
            lambda x, t=target: tf.raw_ops.Reshape(tensor=x, shape=np.array(t, np.int32)),
            reals(*source),
        )
    case(
        "Reshape/by input", lambda x, s: tf.raw_ops.Reshape(tensor=x, shape=s), reals(2, 6), np.array([3, -1], np.int64)
    )
    case(
        "Reshape/by shape", lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], -1])), reals(3, 2, 2), unknown_shapes=True
    )
    for axis in (0, 1, -1, -3):
        case(f"ExpandDims/{axis}", lambda x, a=axis: tf.raw_ops.ExpandDims(input=x, axis=a), reals(2, 3))
    case(
        "ExpandDims/shape", lambda x: tf.raw_ops.ExpandDims(input=tf.shape(x), axis=0), reals(2, 3), unknown_shapes=True
    )
    for axes in ((), (1,), (0, -1)):
        case(f"Squeeze/{axes}", lambda x, a=axes: tf.raw_ops.Squeeze(input=x, axis=list(a)), reals(1, 1, 3, 1))
    case("Squeeze/constant", lambda x: [tf.raw_ops.Squeeze(input=tf.constant([[4, 5]]), axis=[0]), x], reals(1))
    for order in ((1, 0, 2), (2, 1, 0), (0, 1, 2)):
        case(f"Transpose/{order}", lambda x, p=order: tf.raw_ops.Transpose(x=x, perm=list(p)), reals(2, 3, 4))
    case("Transpose/input", lambda x, p: tf.raw_ops.Transpose(x=x, perm=p), reals(2, 3), np.array([1, 0], np.int64))
    case("Transpose/ints", lambda x: tf.raw_ops.Transpose(x=x, perm=[1, 0]), integers(2, 3))
    case("InvertPermutation", lambda x: tf.raw_ops.InvertPermutation(x=x), np.array([2, 0, 3, 1], np.int32))
    case("BroadcastTo", lambda x: tf.raw_ops.BroadcastTo(input=x, shape=[2, 3, 4]), reals(3, 1))
    case("BroadcastTo/ints", lambda x: [tf.raw_ops.BroadcastTo(input=tf.constant([1, 2]), shape=[3, 2]), x], reals(1))
    case("BroadcastTo/empty", lambda x: tf.raw_ops.BroadcastTo(input=x, shape=[0, 4]), reals(1, 4))
    case(
        "BroadcastArgs",
        lambda a, b: tf.raw_ops.BroadcastArgs(s0=a, s1=b),
        np.array([3, 1], np.int32),
        np.array([2, 1, 5], np.int32),
    )
    case("EnsureShape", lambda x: tf.raw_ops.EnsureShape(input=x, shape=[None, 3]), reals(2, 3), unknown_shapes=True)
    case("ZerosLike", lambda x, y: [tf.raw_ops.ZerosLike(x=x), tf.raw_ops.ZerosLike(x=y)], reals(2, 3), integers(4))
    case(
        "OnesLike",
        lambda x, y: [tf.raw_ops.OnesLike(x=x), tf.raw_ops.OnesLike(x=tf.shape(y))],
        reals(2, 3),
        integers(4),
        unknown_shapes=True,
    )
