"""Random numbers: what is the same for any generator, such as shapes, ranges and rough statistics."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import reals

COUNT = 20000


def _describe(numbers, low, high, mean, deviation):
    """Return the shape, whether all numbers are in the range, and whether mean and deviation are roughly right."""
    wide = tf.cast(numbers, tf.float64)
    spread = tf.math.reduce_std(wide)
    return (
        tf.shape(numbers),
        tf.reduce_all((wide >= low) & (wide < high)),
        tf.abs(tf.reduce_mean(wide) - mean) < 0.05 * (high - low),
        tf.abs(spread - deviation) < 0.05 * deviation,
    )


def record(case):
    raw = tf.raw_ops
    shape, seed = [2, COUNT], [1, 2]
    uniform, width = (0, 1, 0.5, 12**-0.5), 100
    normal, truncated = (-9, 9, 0, 1), (-2, 2.000001, 0, 0.8796)
    integers = (3, 3 + width, 2.5 + width / 2, width * 12**-0.5)
    key, counter = np.zeros(1, np.uint64), np.zeros(2, np.uint64)
    old = {"shape": shape, "dtype": tf.float64}
    new = {**old, "key": key, "counter": counter, "alg": 1}
    for name, kind, v2 in (("Uniform", uniform, None), ("Normal", normal, "RandomStandardNormal")):
        case(f"Random{name}", lambda n=name, k=kind, v=v2: _describe(getattr(raw, v or f"Random{n}")(**old), *k))
        stateless = f"StatelessRandom{name}"
        case(stateless, lambda s=stateless, k=kind: _describe(getattr(raw, s)(**old, seed=seed), *k))
        case(f"{stateless}V2", lambda s=stateless, k=kind: _describe(getattr(raw, f"{s}V2")(**new), *k))
    case("TruncatedNormal", lambda: _describe(raw.TruncatedNormal(**old), *truncated))
    case("StatelessTruncatedNormal", lambda: _describe(raw.StatelessTruncatedNormal(**old, seed=seed), *truncated))
    case("StatelessTruncatedNormalV2", lambda: _describe(raw.StatelessTruncatedNormalV2(**new), *truncated))
    for kind in (np.int32, np.int64):
        bounds = {"minval": kind(3), "maxval": kind(3 + width)}
        case(
            f"RandomUniformInt/{kind.__name__}",
            lambda b=bounds: _describe(raw.RandomUniformInt(shape=shape, **b), *integers),
        )
    case(
        "StatelessRandomUniformInt",
        lambda: _describe(raw.StatelessRandomUniformInt(shape=shape, seed=seed, **bounds), *integers),
    )
    v2 = {"shape": shape, "key": key, "counter": counter, "alg": 1, **bounds}
    case("StatelessRandomUniformIntV2", lambda: _describe(raw.StatelessRandomUniformIntV2(**v2), *integers))
    case("RandomShuffle", lambda x: tf.sort(raw.RandomShuffle(value=x)), reals(9))
    logits = [[0.0, -1e9, 0.0], [-1e9, 0.0, -1e9]]
    drawn = (0, 2.1, 1, 0.70710678)
    case("Multinomial", lambda: _describe(raw.Multinomial(logits=logits, num_samples=COUNT), *drawn))
    case(
        "StatelessMultinomial",
        lambda: _describe(raw.StatelessMultinomial(logits=logits, num_samples=COUNT, seed=seed), *drawn),
    )
    case("key and counter", lambda: tf.shape(tf.random.stateless_uniform([3, 4], seed=seed)))
    case(
        "key",
        lambda: tf.shape(
            raw.StatelessRandomUniformV2(shape=[3], alg=raw.StatelessRandomGetAlg(), key=key, counter=counter)
        ),
    )
