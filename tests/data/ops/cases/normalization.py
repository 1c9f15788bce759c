"""Batch norms, local response, softmax."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import positive, reals, single


def _inputs(*shape):
    depth = shape[-1]
    return [
        single(array)
        for array in (reals(*shape), reals(depth), reals(depth, seed=1), reals(depth, seed=2), positive(depth))
    ]


def _inference(epsilon, axis=-1):
    def exact(x, scale, offset, mean, variance):
        shape = [-1 if at == axis % len(x.shape) else 1 for at in range(len(x.shape))]
        scale, offset, m, v = (tf.reshape(t, shape) for t in (scale, offset, mean, variance))
        return [(x - m) / tf.sqrt(v + epsilon) * scale + offset, mean, variance]

    return exact


def _training(epsilon, factor=1.0):
    def exact(x, scale, offset, mean, variance):
        m, v = tf.nn.moments(x, [0, 1, 2])
        count = x.shape[0] * x.shape[1] * x.shape[2]
        unbiased = v * (count / (count - 1))
        y = (x - m) / tf.sqrt(v + epsilon) * scale + offset
        return [y, (1 - factor) * mean + factor * m, (1 - factor) * variance + factor * unbiased]

    return exact


def record(case):
    raw = tf.raw_ops
    for name in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"):
        op = getattr(raw, name)
        for epsilon in (0.001, 1e-5, 0.0001):
            case(
                f"{name}/{epsilon}",
                lambda x, s, o, m, v, op=op, e=epsilon: op(
                    x=x, scale=s, offset=o, mean=m, variance=v, epsilon=e, is_training=False
                )[:3],
                *_inputs(2, 3, 3, 4),
                exact=_inference(epsilon),
            )
        case(
            f"{name}/as TensorFlow runs it",
            lambda x, s, o, m, v, op=op: op(
                x=x, scale=s, offset=o, mean=m, variance=v, epsilon=0.001, is_training=False
            )[:3],
            *_inputs(2, 3, 3, 4),
        )
        case(
            f"{name}/training",
            lambda x, s, o, op=op: op(
                x=x, scale=s, offset=o, mean=tf.constant([]), variance=tf.constant([]), epsilon=0.001, is_training=True
            )[:3],
            *_inputs(2, 3, 3, 4)[:3],
            exact=lambda x, s, o: _training(0.001)(x, s, o, 0.0, 0.0),
        )
        nchw = _inputs(2, 3, 3, 4)
        nchw[0] = np.ascontiguousarray(nchw[0].transpose(0, 3, 1, 2))
        case(
            f"{name}/NCHW",
            lambda x, s, o, m, v, op=op: op(
                x=x, scale=s, offset=o, mean=m, variance=v, epsilon=0.001, is_training=False, data_format="NCHW"
            )[:3],
            *nchw,
            exact=_inference(0.001, axis=1),
        )
    case(
        "FusedBatchNormV3/averaging",
        lambda x, s, o, m, v: raw.FusedBatchNormV3(
            x=x, scale=s, offset=o, mean=m, variance=v, epsilon=0.001, exponential_avg_factor=0.25, is_training=True
        )[:3],
        *_inputs(2, 3, 3, 4),
        exact=_training(0.001, 0.25),
    )
    case(
        "FusedBatchNormV3/five axes",
        lambda x, s, o, m, v: raw.FusedBatchNormV3(
            x=x, scale=s, offset=o, mean=m, variance=v, epsilon=0.001, is_training=False, data_format="NDHWC"
        )[:3],
        *_inputs(1, 2, 3, 3, 4),
        exact=_inference(0.001),
    )
    for after in (False, True):
        case(
            f"batch norm from its parts/{after}",
            lambda x, g, b, m, v, a=after: tf.nn.batch_normalization(x, m, v, b, g if a else None, 0.5),
            reals(2, 3, 3, 4),
            reals(4),
            reals(4, seed=1),
            reals(4, seed=2),
            positive(4),
        )
    for radius, bias, alpha, beta in ((5, 1.0, 1.0, 0.5), (2, 2.0, 0.25, 0.75), (1, 1.0, 0.5, 1.0)):
        case(
            f"LRN/{radius}",
            lambda x, r=radius, b=bias, a=alpha, e=beta: raw.LRN(input=x, depth_radius=r, bias=b, alpha=a, beta=e),
            single(reals(1, 2, 2, 7)),
        )
    for shape in ((3, 5), (2, 3, 4), (6,)):
        case(f"Softmax/{shape}", lambda x: raw.Softmax(logits=x), reals(*shape, scale=4))
        case(f"LogSoftmax/{shape}", lambda x: raw.LogSoftmax(logits=x), reals(*shape, scale=4))
    case("Softmax/large", lambda x: raw.Softmax(logits=x), np.array([[1e4, 1e4 - 1, 0.0]]))
    case("layer norm", lambda x, g, b: _layer_norm(x, g, b), reals(2, 3, 5), reals(5), reals(5, seed=1))


def _layer_norm(x, gamma, beta):
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 0.5)
