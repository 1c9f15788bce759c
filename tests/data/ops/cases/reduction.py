"""Many elements into one along some axes."""

# ruff: noqa: B008 (a default binds what the loop has at that moment)
from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import bools, integers, reals


def record(case):
    raw = tf.raw_ops
    axes_of = {"one": [1], "two": [0, 2], "last": [-1], "all": [0, 1, 2], "none": [], "twice over": [0, -1]}
    for name in ("Sum", "Mean", "Max", "Min", "Prod", "EuclideanNorm"):
        op = getattr(raw, name)
        for label, axes in axes_of.items():
            for keep in (False, True):
                case(
                    f"{name}/{label}{'/keep' if keep else ''}",
                    lambda x, op=op, a=axes, k=keep: op(input=x, axis=np.array(a, np.int32), keep_dims=k),
                    reals(2, 3, 4),
                )
        if name != "EuclideanNorm":
            case(f"{name}/int32", lambda x, op=op: op(input=x, axis=[0]), integers(3, 4))
            case(f"{name}/int64", lambda x, op=op: op(input=x, axis=1), integers(3, 4, dtype="int64"))
        if name != "Mean":
            case(f"{name}/empty", lambda x, op=op: op(input=x, axis=[0]), reals(0, 3))
    for name in ("Sum", "Max", "Min", "Prod"):
        case(
            f"{name}/host",
            lambda x, op=getattr(raw, name): op(input=tf.shape(x), axis=[0]),
            reals(2, 3, 4),
            unknown_shapes=True,
        )
    case(
        "Max/empty ints", lambda x: [raw.Max(input=x, axis=[0]), raw.Min(input=x, axis=[0])], np.zeros((0, 2), np.int32)
    )
    for name in ("All", "Any"):
        op = getattr(raw, name)
        case(name, lambda x, op=op: op(input=x, axis=[0]), bools(3, 4))
        case(f"{name}/all", lambda x, op=op: op(input=x, axis=[0, 1], keep_dims=True), bools(3, 4))
        case(f"{name}/host", lambda x, op=op: [op(input=tf.constant([True, False]), axis=[0]), x], bools(1))
    case("Mean/by input", lambda x, a: raw.Mean(input=x, axis=a), reals(2, 3, 4), np.array([2, 0], np.int64))
    repeated = np.array([[1.0, 3.0, 3.0], [5.0, 4.0, 5.0], [5.0, 1.0, 0.0]])
    for name in ("ArgMax", "ArgMin"):
        op = getattr(raw, name)
        for axis in (0, 1, -1):
            case(f"{name}/{axis}", lambda x, op=op, a=axis: op(input=x, dimension=a), repeated)
        case(f"{name}/int32", lambda x, op=op: op(input=x, dimension=0, output_type=tf.int32), integers(5))
    for name in ("Cumsum", "Cumprod"):
        op = getattr(raw, name)
        for exclusive in (False, True):
            for reverse in (False, True):
                case(
                    f"{name}/{exclusive}/{reverse}",
                    lambda x, op=op, e=exclusive, r=reverse: op(x=x, axis=1, exclusive=e, reverse=r),
                    reals(2, 4),
                )
        case(f"{name}/int32", lambda x, op=op: op(x=x, axis=0), integers(5, low=1, high=4))
        case(f"{name}/empty", lambda x, op=op: op(x=x, axis=0, exclusive=True), reals(0, 3))
