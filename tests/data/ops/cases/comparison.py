"""Comparisons, logic and choices."""

# ruff: noqa: B008 (a default binds what the loop has at that moment)
from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import bools, integers, reals


def record(case):
    for name in ("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual"):
        op = getattr(tf.raw_ops, name)
        case(name, lambda x, y, op=op: op(x=x, y=y), np.round(reals(3, 4)), np.round(reals(4, seed=1)))
        for dtype in ("int32", "int64", "uint8"):
            case(
                f"{name}/{dtype}",
                lambda x, y, op=op: op(x=x, y=y),
                integers(3, 4, low=0, high=3, dtype=dtype),
                integers(3, 1, low=0, high=3, dtype=dtype),
            )
        case(f"{name}/constants", lambda x, op=op: [op(x=tf.shape(x), y=tf.constant([2, 2, 2])), x], reals(1, 2, 3))
    case("Equal/bool", lambda x, y: tf.raw_ops.Equal(x=x, y=y), bools(5), bools(5, seed=1))
    case(
        "Equal/shapes that differ",
        lambda x, y: tf.raw_ops.Equal(x=x, y=y, incompatible_shape_error=False),
        reals(2),
        reals(3),
        unknown_shapes=True,
    )
    case(
        "NotEqual/shapes that differ",
        lambda x, y: tf.raw_ops.NotEqual(x=x, y=y, incompatible_shape_error=False),
        reals(2),
        reals(3),
        unknown_shapes=True,
    )
    case(
        "ApproximateEqual",
        lambda x, y: tf.raw_ops.ApproximateEqual(x=x, y=y, tolerance=0.5),
        reals(4, 4),
        reals(4, 4, seed=1),
    )
    for name in ("LogicalAnd", "LogicalOr"):
        op = getattr(tf.raw_ops, name)
        case(name, lambda x, y, op=op: op(x=x, y=y), bools(3, 4), bools(4, seed=1))
        case(
            f"{name}/constants",
            lambda x, op=op: [op(x=tf.constant([True, False]), y=tf.constant([True, True])), x],
            bools(1),
        )
    case("LogicalNot", lambda x: tf.raw_ops.LogicalNot(x=x), bools(3, 4))
    case("LogicalNot/constant", lambda x: [tf.raw_ops.LogicalNot(x=tf.constant([True, False])), x], bools(1))
    special = np.array([1.0, np.inf, -np.inf, np.nan, 0.0])
    for name in ("IsFinite", "IsInf", "IsNan"):
        case(name, lambda x, op=getattr(tf.raw_ops, name): op(x=x), special)
    case(
        "Select",
        lambda c, x, y: tf.raw_ops.Select(condition=c, x=x, y=y),
        bools(3, 4),
        reals(3, 4),
        reals(3, 4, seed=1),
    )
    case(
        "Select/rows",
        lambda c, x, y: tf.raw_ops.Select(condition=c, x=x, y=y),
        bools(3),
        reals(3, 4),
        reals(3, 4, seed=1),
    )
    case(
        "Select/scalar",
        lambda c, x, y: tf.raw_ops.Select(condition=c, x=x, y=y),
        np.array(True),
        reals(3, 4),
        reals(3, 4, seed=1),
    )
    case(
        "SelectV2",
        lambda c, x, y: tf.raw_ops.SelectV2(condition=c, t=x, e=y),
        bools(3, 1),
        reals(3, 4),
        reals(4, seed=1),
    )
    case(
        "SelectV2/constants",
        lambda x: [tf.raw_ops.SelectV2(condition=tf.constant([True, False]), t=tf.shape(x), e=tf.constant([7, 8])), x],
        reals(2, 3),
    )
    case("Where", lambda c: tf.raw_ops.Where(condition=c), bools(3, 4))
    case("Where/numbers", lambda c: tf.raw_ops.Where(condition=c), np.round(reals(2, 3, 2)))
    case("Where/nothing", lambda c: tf.raw_ops.Where(condition=c), np.zeros((2, 3), bool))
