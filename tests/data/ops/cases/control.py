"""Values passed on, branches, loops and functions."""

# ruff: noqa: B008 (a default binds what the loop has at that moment)
from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import function as old_functions

from cases import reals


def _old_cond(x, p):
    """Switch and Merge, as programs of TensorFlow 1 have them."""
    return tf.compat.v1.cond(p, lambda: x * 2, lambda: tf.constant([1.0, 2.0], tf.float64))


def _nested_old_cond(x, p, q):
    return tf.compat.v1.cond(p, lambda: tf.compat.v1.cond(q, lambda: x + 1, lambda: x - 1), lambda: tf.zeros_like(x))


def record(case):
    raw = tf.raw_ops
    for name in ("Identity", "StopGradient", "PreventGradient", "Snapshot", "GuaranteeConst", "DebugIdentityV2"):
        case(name, lambda x, op=getattr(raw, name): op(input=x), reals(2, 3))
    case("CheckNumerics", lambda x: raw.CheckNumerics(tensor=x, message="numbers"), reals(2, 3))
    case("IdentityN", lambda x, y: raw.IdentityN(input=[x, y]), reals(2), reals(3))
    case(
        "PlaceholderWithDefault",
        lambda x: x + raw.PlaceholderWithDefault(input=tf.constant([1.0, 2.0], tf.float64), shape=[2]),
        reals(2),
    )
    case("Print", lambda x: raw.Print(input=x, data=[], message=""), reals(2))

    tf.compat.v1.disable_control_flow_v2()
    for value in (True, False):
        case(f"Switch and Merge/{value}", _old_cond, reals(2), np.array(value))
        for other in (True, False):
            case(
                f"Switch and Merge/nested/{value}/{other}", _nested_old_cond, reals(2), np.array(value), np.array(other)
            )
    case(
        "Switch and Merge/constant",
        lambda x: tf.compat.v1.cond(tf.compat.v1.placeholder_with_default(False, []), lambda: x * 2, lambda: x - 1),
        reals(2),
    )
    tf.compat.v1.enable_control_flow_v2()

    def branches(x, p):
        return tf.cond(p, lambda: (x * 2, tf.reduce_sum(x)), lambda: (x + 1, tf.constant(3.0, tf.float64)))

    for value in (True, False):
        case(f"If/{value}", branches, reals(2), np.array(value))
    case("If/number", lambda x, n: tf.cond(tf.cast(n, tf.bool), lambda: x, lambda: -x), reals(2), np.int32(2))
    for index in (0, 1, 2, 7, -1):
        case(
            f"Case/{index}",
            lambda x, i: tf.switch_case(i, [lambda: x, lambda: x * 2, lambda: x * 3]),
            reals(2),
            np.int32(index),
        )
    case(
        "While",
        lambda x, n: tf.while_loop(lambda i, v: i < n, lambda i, v: (i + 1, v * 0.5 + 1), [0, x]),
        reals(2),
        np.int32(5),
    )
    case("While/none", lambda x: tf.while_loop(lambda i, v: i < 0, lambda i, v: (i + 1, v * 2), [0, x]), reals(2))
    case(
        "While/inside",
        lambda x: tf.while_loop(
            lambda i, v: i < 3,
            lambda i, v: (i + 1, tf.while_loop(lambda j, w: j < i, lambda j, w: (j + 1, w + 1), [0, v])[1]),
            [0, x],
        ),
        reals(2),
    )
    case(
        "While/growing",
        lambda x: tf.while_loop(
            lambda v: tf.shape(v)[0] < 9,
            lambda v: [tf.concat([v, v], 0)],
            [x],
            shape_invariants=[tf.TensorShape([None])],
        ),
        reals(2),
    )
    case(
        "If/inside While",
        lambda x: tf.while_loop(
            lambda i, v: i < 4, lambda i, v: (i + 1, tf.cond(tf.equal(i % 2, 0), lambda: v + 1, lambda: v * 2)), [0, x]
        ),
        reals(2),
    )

    @tf.function
    def inner(x, y):
        return x * y, x - y

    @tf.function
    def outer(x):
        a, b = inner(x, x + 1)
        c, _ = inner(b, a)
        return c

    case("PartitionedCall", lambda x: outer(x), reals(3))
    case(
        "StatefulPartitionedCall",
        lambda x: [
            *raw.StatefulPartitionedCall(
                args=[x, x * 3],
                Tout=[tf.float64, tf.float64],
                f=inner.get_concrete_function(tf.TensorSpec([3], tf.float64), tf.TensorSpec([3], tf.float64)),
            )
        ],
        reals(3),
    )

    @tf.function
    def double(x):
        return x * 2, x + 1

    @tf.function
    def is_small(x, y):
        return tf.reduce_sum(x) < 9

    @tf.function
    def grow(x, y):
        return x * 2 + 1, y + x

    spec = tf.TensorSpec([3], tf.float64)
    first, second = double.get_concrete_function(spec), grow.get_concrete_function(spec, spec)
    small, swapped = is_small.get_concrete_function(spec, spec), inner.get_concrete_function(spec, spec)
    both = [tf.float64, tf.float64]
    for value in (True, False):
        case(
            f"If, stateful/{value}",
            lambda x, p: raw.If(cond=p, input=[x, x * x], Tout=both, then_branch=second, else_branch=swapped),
            reals(3),
            np.array(value),
        )
    case(
        "If, stateful/constant",
        lambda x: raw.If(cond=tf.constant(False), input=[x, x * x], Tout=both, then_branch=second, else_branch=swapped),
        reals(3),
    )
    case(
        "Case, stateful",
        lambda x, i: raw.Case(branch_index=i, input=[x, x * x], Tout=both, branches=[second, swapped]),
        reals(3),
        np.int32(1),
    )
    case("While, stateful", lambda x: raw.While(input=[x, x * x], cond=small, body=second), np.abs(reals(3)))
    case("call of a call", lambda x: raw.PartitionedCall(args=[x], Tout=both, f=first), reals(3))

    @tf.function
    def many(x):
        parts = tf.split(x, 3, axis=0)
        values, order = tf.math.top_k(x[0], 2)
        return parts[2] + parts[0], values, order, tf.unstack(x)[1]

    case("outputs of functions by name", lambda x: many(x), reals(3, 4))

    @old_functions.Defun(tf.float64, tf.float64)
    def legacy(x, y):
        return x * y + 1, y

    case("function as operation", lambda x: legacy(x, x + 2), reals(3))
