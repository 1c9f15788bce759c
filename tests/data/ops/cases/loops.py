"""Loops as programs of TensorFlow 1 have them: frames, tensor arrays, and branches inside."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import reals

tf1 = tf.compat.v1


def _collatz(n):
    """A branch inside of a loop, with a constant in it."""
    return tf1.while_loop(
        lambda i, v: v > 1,
        lambda i, v: (
            i + 1,
            tf1.cond(tf.equal(v % 2, 0), lambda: v // 2, lambda: tf1.cond(v > 99, lambda: 1, lambda: 3 * v + 1)),
        ),
        [0, n],
    )


def _nested(x):
    """A loop inside of a loop, which takes values from both outside."""

    def body(i, v):
        _, w = tf1.while_loop(lambda j, w: j < i, lambda j, w: (j + 1, w * 0.5 + x), [0, v])
        return i + 1, w + v

    return tf1.while_loop(lambda i, v: i < 3, body, [0, x])


def _collect(x, n):
    """Rows of a tensor read one by one, and results collected."""
    source = tf1.TensorArray(tf.float64, size=n).unstack(x)
    target = tf1.TensorArray(tf.float64, size=n, element_shape=[3])

    def body(i, state, array):
        state = state * 0.5 + source.read(i)
        return i + 1, state, array.write(i, state)

    _, state, array = tf1.while_loop(lambda i, *_: i < n, body, [0, tf.zeros([3], tf.float64), target])
    return state, array.stack(), array.size()


def _grow(x):
    """An array without a fixed size, whose elements have different sizes."""
    array = tf1.TensorArray(tf.float64, size=0, dynamic_size=True, infer_shape=False)
    _, array = tf1.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a.write(i, x[: i + 1])), [0, array])
    return array.concat(), array.size()


def _split(x):
    array = tf1.TensorArray(tf.float64, size=2, infer_shape=False, clear_after_read=False).split(x, [1, 3])
    return array.read(0), array.read(1), array.gather([0])


def _unset():
    array = tf1.TensorArray(tf.float64, size=3, element_shape=[2], clear_after_read=False).write(
        1, tf.constant([1.0, 2.0], tf.float64)
    )
    return array.stack(), array.read(1)


def _dynamic_rnn(x, lengths):
    """Frames, tensor arrays and branches together, as most programs had them."""

    def body(t, state, outputs):
        inputs = rows.read(t)
        new = tf.tanh(inputs + state)
        done = tf.expand_dims(t >= lengths, 1)
        state = tf.where(done, state, new)
        return t + 1, state, outputs.write(t, tf.where(done, tf.zeros_like(new), new))

    rows = tf1.TensorArray(tf.float64, size=tf.shape(x)[1]).unstack(tf.transpose(x, [1, 0, 2]))
    outputs = tf1.TensorArray(tf.float64, size=tf.shape(x)[1])
    start = tf.zeros_like(x[:, 0])
    _, state, outputs = tf1.while_loop(lambda t, *_: t < tf.reduce_max(lengths), body, [0, start, outputs])
    return state, outputs.gather(tf.range(tf.reduce_max(lengths)))


def record(case):
    tf1.disable_control_flow_v2()
    for n in (1, 6, 27, 33):
        case(f"loop/branches inside/{n}", _collatz, np.int32(n))
    case("loop/nested", _nested, reals(2))
    case("loop/none", lambda x: tf1.while_loop(lambda i, v: i < 0, lambda i, v: (i + 1, v * 2), [0, x]), reals(2))
    case(
        "loop/exchange",
        lambda x, y: tf1.while_loop(lambda i, a, b: i < 3, lambda i, a, b: (i + 1, b, a + b), [0, x, y]),
        reals(2),
        reals(2, seed=1),
    )
    case(
        "loop/in a branch",
        lambda x, p: tf1.cond(p, lambda: _nested(x)[1], lambda: x),
        reals(2),
        np.array(True),
    )
    case(
        "loop/after a loop",
        lambda x: tf1.while_loop(lambda i, v: i < 5, lambda i, v: (i + 2, v + 1), _nested(x)),
        reals(2),
    )
    case("TensorArray/collect", _collect, reals(4, 3), np.int32(4))
    case("TensorArray/grow", _grow, reals(5))
    case("TensorArray/split", _split, reals(4, 2))
    case("TensorArray/unset", _unset)
    case("TensorArray/empty", lambda x: tf1.TensorArray(tf.float64, size=0, element_shape=[2]).stack() + x, reals(2))
    case("dynamic rnn", _dynamic_rnn, reals(2, 4, 3), np.array([4, 2], np.int32))
    tf1.enable_control_flow_v2()
