"""One operand, or two that are broadcast."""

# ruff: noqa: B008 (a default binds what the loop has at that moment)
from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import bools, integers, positive, reals, single

_REAL = [
    "Abs",
    "Asinh",
    "Atan",
    "Ceil",
    "Cos",
    "Cosh",
    "Erf",
    "Erfc",
    "Exp",
    "Expm1",
    "Floor",
    "Neg",
    "Relu",
    "Relu6",
    "Elu",
    "Selu",
    "Rint",
    "Round",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Square",
    "Tan",
    "Tanh",
]
_POSITIVE = ["Digamma", "Inv", "Lgamma", "Log", "Log1p", "Reciprocal", "Rsqrt", "Sqrt"]
_UNIT = ["Acos", "Asin", "Atanh", "Erfinv", "Ndtri"]
_BINARY = [
    "Add",
    "AddV2",
    "Atan2",
    "Div",
    "FloorDiv",
    "FloorMod",
    "Maximum",
    "Minimum",
    "Mul",
    "RealDiv",
    "SquaredDifference",
    "Sub",
    "TruncateMod",
    "Xdivy",
]
_INTEGER_BINARY = [
    "AddV2",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "FloorDiv",
    "FloorMod",
    "Maximum",
    "Minimum",
    "Mul",
    "SquaredDifference",
    "Sub",
    "TruncateDiv",
    "TruncateMod",
]
_SHAPES = {
    "same": ((3, 4), (3, 4)),
    "row": ((3, 4), (4,)),
    "outer": ((3, 1), (1, 4)),
    "scalar": ((2, 3), ()),
    "empty": ((0, 3), (1, 3)),
}


def record(case):
    for name in _REAL:
        key = "features" if name in ("Relu", "Relu6", "Elu", "Selu", "Softplus", "Softsign") else "x"
        op = getattr(tf.raw_ops, name)
        case(f"{name}", lambda x, op=op, key=key: op(**{key: x}), reals(3, 5, scale=3.0, seed=len(name)))
    for name in _POSITIVE:
        case(name, lambda x, op=getattr(tf.raw_ops, name): op(x=x), positive(3, 5, seed=len(name)))
    for name in _UNIT:
        low = (np.arange(1, 16) / 16.0).reshape(3, 5)
        case(name, lambda x, op=getattr(tf.raw_ops, name): op(x=x), low)
    case("Acosh", lambda x: tf.raw_ops.Acosh(x=x), positive(3, 4) + 1)
    for name in ("Abs", "Neg", "Sign", "Square", "Invert"):
        case(f"{name}/int32", lambda x, op=getattr(tf.raw_ops, name): op(x=x), integers(3, 4))
    case("Invert/uint8", lambda x: tf.raw_ops.Invert(x=x), integers(5, low=0, high=255, dtype="uint8"))
    case("Relu/int32", lambda x: tf.raw_ops.Relu(features=x), integers(3, 4))
    for alpha in (0.0, 0.1, 1.5):
        case(f"LeakyRelu/{alpha}", lambda x, a=alpha: tf.raw_ops.LeakyRelu(features=x, alpha=a), reals(3, 4))
    case("Round/halves", lambda x: [tf.raw_ops.Round(x=x), tf.raw_ops.Rint(x=x)], np.arange(-4, 5) / 2.0)
    case("Softplus/large", lambda x: tf.raw_ops.Softplus(features=x), np.array([-800.0, -40, 15, 25, 40, 800]))
    for dtype in (np.float16, "bfloat16"):
        kind = tf.as_dtype(dtype).as_numpy_dtype
        values = reals(3, 4).astype(kind)
        case(
            f"Sigmoid/{tf.as_dtype(dtype).name}",
            lambda x: tf.cast(tf.raw_ops.Sigmoid(x=x), tf.float32),
            values,
            precision="half",
        )
        case(f"Mul/{tf.as_dtype(dtype).name}", lambda x: tf.cast(x * x, tf.float32), values, precision="half")
    for name in _BINARY:
        for label, (left, right) in _SHAPES.items():
            x, y = reals(*left, seed=1), reals(*right, seed=2) + 0.0078125
            case(f"{name}/{label}", lambda x, y, op=getattr(tf.raw_ops, name): op(x=x, y=y), x, y)
    for name in _INTEGER_BINARY:
        for dtype in ("int32", "int64", "uint8", "int8"):
            low = 0 if dtype == "uint8" else -9
            x, y = integers(3, 4, low=low, dtype=dtype), integers(4, low=1, dtype=dtype, seed=1)
            if low:
                y[1] = -y[1]
            op = getattr(tf.raw_ops, name)
            try:
                case(f"{name}/{dtype}", lambda x, y, op=op: op(x=x, y=y), x, y)
            except (tf.errors.InvalidArgumentError, TypeError):
                continue
            a, b = x[0].copy(), y.copy()
            case(
                f"{name}/{dtype}/constants",
                lambda z, op=op, a=a, b=b: [op(x=tf.constant(a), y=tf.constant(b)), z],
                x[:1],
            )
    case("Pow", lambda x, y: tf.raw_ops.Pow(x=x, y=y), positive(3, 4), reals(4))
    case("Pow/int32", lambda x, y: tf.raw_ops.Pow(x=x, y=y), integers(3, 4), integers(4, low=0, high=4))
    zeros = np.array([[0.0, 1.0, -2.0], [3.0, 0.0, 0.5]])
    for name in ("DivNoNan", "MulNoNan", "Xdivy", "Xlogy", "Xlog1py"):
        other = np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 4.0]])
        x, y = (
            (other, zeros)
            if name in ("DivNoNan", "MulNoNan")
            else (np.abs(zeros), np.abs(other) + (name == "Xdivy") * 0)
        )
        case(f"{name}/zeros", lambda x, y, op=getattr(tf.raw_ops, name): op(x=x, y=y), x, y)
    case("Mod", lambda x, y: tf.raw_ops.Mod(x=x, y=y), reals(3, 4), positive(4))
    case(
        "LeftShift", lambda x, y: tf.raw_ops.LeftShift(x=x, y=y), integers(4, low=0), integers(4, low=0, high=4, seed=1)
    )
    case("RightShift", lambda x, y: tf.raw_ops.RightShift(x=x, y=y), integers(4), integers(4, low=0, high=4, seed=1))
    case("AddN", lambda *xs: tf.raw_ops.AddN(inputs=xs), reals(2, 3), reals(2, 3, seed=1), reals(2, 3, seed=2))
    case(
        "AccumulateNV2", lambda *xs: tf.raw_ops.AccumulateNV2(inputs=xs, shape=(2, 3)), reals(2, 3), reals(2, 3, seed=1)
    )
    case(
        "AddN/constants", lambda x: [tf.raw_ops.AddN(inputs=[tf.constant([1, 2]), tf.constant([3, 4])]), x], integers(1)
    )
    case("BiasAdd", lambda x, b: tf.raw_ops.BiasAdd(value=x, bias=b), reals(2, 3, 3, 4), reals(4))
    case("BiasAdd/matrix", lambda x, b: tf.raw_ops.BiasAdd(value=x, bias=b), reals(2, 4), reals(4))
    case(
        "BiasAdd/NCHW",
        lambda x, b: tf.raw_ops.BiasAdd(value=x, bias=b, data_format="NCHW"),
        reals(2, 4, 3, 3),
        reals(4),
    )
    case("BiasAddV1", lambda x, b: tf.raw_ops.BiasAddV1(value=x, bias=b), reals(2, 4), reals(4))
    case(
        "ClipByValue",
        lambda x: tf.raw_ops.ClipByValue(
            t=x, clip_value_min=tf.constant(-0.5, x.dtype), clip_value_max=tf.constant(1.0, x.dtype)
        ),
        reals(3, 4),
    )
    case("L2Loss", lambda x: tf.raw_ops.L2Loss(t=x), reals(3, 4))
    case(
        "FakeQuantWithMinMaxArgs",
        lambda x: tf.raw_ops.FakeQuantWithMinMaxArgs(inputs=x, min=-3.0, max=5.0),
        single(reals(5, 5, scale=3)),
    )
    case(
        "FakeQuantWithMinMaxVars",
        lambda x, a, b: tf.raw_ops.FakeQuantWithMinMaxVars(inputs=x, min=a, max=b, num_bits=4, narrow_range=True),
        single(reals(5, 5, scale=3)),
        np.float32(-2.1),
        np.float32(4.3),
    )
    numbers = {
        "float64": reals(3, 4, scale=4),
        "int32": integers(3, 4),
        "uint8": integers(3, 4, low=0, dtype="uint8"),
        "bool": bools(3, 4),
        "int64": integers(3, 4, dtype="int64"),
    }
    for source, values in numbers.items():
        for target in (tf.float64, tf.int32, tf.int64, tf.bool, tf.int8, tf.float16):
            if target.name == source or (source == "float64" and target == tf.float16):
                continue
            case(
                f"Cast/{source}/{target.name}",
                lambda x, t=target: (
                    tf.cast(tf.raw_ops.Cast(x=x, DstT=t), tf.float32)
                    if t == tf.float16
                    else tf.raw_ops.Cast(x=x, DstT=t)
                ),
                values,
            )
    case("Cast/constant", lambda x: tf.raw_ops.Cast(x=tf.shape(x), DstT=tf.float64) * x, reals(2))
    case("host/shape arithmetic", lambda x: (tf.shape(x)[1] * 3 + 1) // 2 - tf.reduce_prod(tf.shape(x)), reals(3, 5))
    case("host/float of shape", lambda x: x / tf.sqrt(tf.cast(tf.shape(x)[-1], tf.float64)), reals(3, 5))
    for kind in (np.float64, np.float32, np.int32, np.int64):
        numbers = np.array([[-5, 0, 1, 9], [10, 11, 3, 100]], kind)
        case(
            f"Bucketize/{np.dtype(kind).name}",
            lambda x: tf.raw_ops.Bucketize(input=x, boundaries=[0.0, 3.0, 10.0]),
            numbers,
        )
    lows, highs = np.array([-1.5, 0, -6, 0.5], np.float32), np.array([2, 6, -1, 3], np.float32)
    for bits, narrow in ((8, False), (4, True)):
        case(
            f"FakeQuantWithMinMaxVarsPerChannel/{bits}/{narrow}",
            lambda x, a, b, n=bits, r=narrow: tf.raw_ops.FakeQuantWithMinMaxVarsPerChannel(
                inputs=x, min=a, max=b, num_bits=n, narrow_range=r
            ),
            reals(3, 4, scale=4).astype(np.float32),
            lows,
            highs,
        )
