"""Tensors joined, split, repeated, padded and made."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import integers, reals


def record(case):
    raw = tf.raw_ops
    for axis in (0, 1, -1):
        shapes = ((2, 3), (4, 3)) if axis == 0 else ((2, 3), (2, 1))
        case(f"ConcatV2/{axis}", lambda *xs, a=axis: raw.ConcatV2(values=xs, axis=a), *(reals(*s) for s in shapes))
    case("ConcatV2/empty", lambda *xs: raw.ConcatV2(values=xs, axis=0), reals(0, 3), reals(2, 3))
    case("ConcatV2/ints", lambda *xs: raw.ConcatV2(values=xs, axis=0), integers(2), integers(3))
    case("ConcatV2/host", lambda x: raw.ConcatV2(values=[tf.shape(x), [7]], axis=0), reals(2, 3), unknown_shapes=True)
    case("Concat", lambda *xs: raw.Concat(concat_dim=1, values=xs), reals(2, 3), reals(2, 2))
    case("ConcatOffset", lambda x: [*raw.ConcatOffset(concat_dim=1, shape=[[2, 3], [2, 5], [2, 1]]), x], reals(1))
    for axis in (0, 1, -1):
        case(f"Pack/{axis}", lambda *xs, a=axis: raw.Pack(values=xs, axis=a), reals(2, 3), reals(2, 3, seed=1))
        case(f"Unpack/{axis}", lambda x, a=axis: raw.Unpack(value=x, num=2, axis=a), reals(2, 2, 2))
    case("Pack/host", lambda x: raw.Pack(values=[tf.shape(x)[0], 4, tf.size(x)]), reals(2, 3), unknown_shapes=True)
    case("Pack/mixed", lambda x, n: raw.Pack(values=[n, 4]), reals(2, 3), np.int32(5))
    case("Unpack/host", lambda x: [*raw.Unpack(value=tf.shape(x), num=2, axis=0), x], reals(2, 3), unknown_shapes=True)
    case("Split", lambda x: raw.Split(axis=1, value=x, num_split=3), reals(2, 6))
    case(
        "Split/host",
        lambda x: [*raw.Split(axis=0, value=tf.shape(x), num_split=2), x],
        reals(2, 6),
        unknown_shapes=True,
    )
    case("SplitV", lambda x: raw.SplitV(value=x, size_splits=[1, 0, 4], axis=0, num_split=3), reals(5, 2))
    case("SplitV/rest", lambda x: raw.SplitV(value=x, size_splits=[1, -1, 2], axis=-1, num_split=3), reals(2, 7))
    case("Tile", lambda x: raw.Tile(input=x, multiples=[2, 1, 3]), reals(2, 3, 1))
    case("Tile/zero", lambda x: raw.Tile(input=x, multiples=[2, 0]), reals(2, 3))
    case("Tile/host", lambda x: raw.Tile(input=tf.shape(x), multiples=[2]), reals(2, 3), unknown_shapes=True)
    pads = [[1, 2], [0, 0], [0, 3]]
    case("Pad", lambda x: raw.Pad(input=x, paddings=pads), reals(2, 3, 1))
    case("Pad/five axes", lambda x: raw.Pad(input=x, paddings=[[1, 0]] * 5), reals(1, 2, 1, 2, 1))
    case("Pad/host", lambda x: raw.Pad(input=tf.shape(x), paddings=[[1, 2]]), reals(2, 3), unknown_shapes=True)
    case("Pad/none", lambda x: raw.Pad(input=x, paddings=np.zeros((0, 2), np.int32)), np.float64(3))
    case("PadV2", lambda x, c: raw.PadV2(input=x, paddings=pads, constant_values=c), reals(2, 3, 1), np.float64(-1.5))
    case("PadV2/ints", lambda x: raw.PadV2(input=x, paddings=[[1, 1]], constant_values=7), integers(3))
    for mode in ("REFLECT", "SYMMETRIC"):
        case(
            f"MirrorPad/{mode}",
            lambda x, m=mode: raw.MirrorPad(input=x, paddings=[[0, 0], [2, 1], [1, 2]], mode=m),
            reals(2, 3, 4),
        )
        most = [[2, 2]] if mode == "REFLECT" else [[3, 3]]
        case(f"MirrorPad/{mode}/most", lambda x, m=mode, p=most: raw.MirrorPad(input=x, paddings=p, mode=m), reals(3))
    case("Fill", lambda v: raw.Fill(dims=[2, 3], value=v), np.float64(1.5))
    case("Fill/int", lambda x: raw.Fill(dims=tf.shape(x), value=7), reals(2, 3), unknown_shapes=True)
    case("Fill/empty", lambda v: raw.Fill(dims=[0, 3], value=v), np.float64(1.5))
    for start, limit, delta in ((0, 5, 1), (3, 12, 4), (5, 0, -2), (2, 2, 1)):
        case(
            f"Range/{start} {limit} {delta}",
            lambda x, s=start, e=limit, d=delta: [raw.Range(start=s, limit=e, delta=d), x],
            reals(1),
        )
    case(
        "Range/float",
        lambda a, b, c: raw.Range(start=a, limit=b, delta=c),
        np.float64(0.5),
        np.float64(3),
        np.float64(0.25),
    )
    case(
        "Range/of shape", lambda x: raw.Range(start=0, limit=tf.shape(x)[0], delta=1), reals(4, 2), unknown_shapes=True
    )
    case("Range/input", lambda n: raw.Range(start=0, limit=n, delta=1), np.int32(6))
    case("LinSpace", lambda a, b: raw.LinSpace(start=a, stop=b, num=7), np.float64(-1), np.float64(2.5))
    case("LinSpace/one", lambda a, b: raw.LinSpace(start=a, stop=b, num=1), np.float64(-1), np.float64(2.5))
    case("ReverseV2", lambda x: raw.ReverseV2(tensor=x, axis=[0, -1]), reals(2, 3, 4))
    case("ReverseV2/host", lambda x: raw.ReverseV2(tensor=tf.shape(x), axis=[0]), reals(2, 3), unknown_shapes=True)
    case("Reverse", lambda x: raw.Reverse(tensor=x, dims=[True, False, True]), reals(2, 3, 4))
    case("Roll", lambda x: raw.Roll(input=x, shift=[1, -2], axis=[0, 1]), reals(3, 4))
    case("Roll/twice", lambda x: raw.Roll(input=x, shift=[1, 2], axis=[0, 0]), reals(5))
    case(
        "ReverseSequence",
        lambda x, n: raw.ReverseSequence(input=x, seq_lengths=n, seq_dim=1),
        reals(3, 4, 2),
        np.array([1, 4, 3], np.int32),
    )
    case(
        "ReverseSequence/other axes",
        lambda x, n: raw.ReverseSequence(input=x, seq_lengths=n, seq_dim=0, batch_dim=2),
        reals(4, 2, 3),
        np.array([2, 0, 4], np.int64),
    )
    case(
        "DynamicStitch",
        lambda a, b: raw.DynamicStitch(indices=[[0, 2], [[1, 3]]], data=[a, b]),
        reals(2, 3),
        reals(1, 2, 3),
    )
    case(
        "DynamicStitch/host",
        lambda x: raw.DynamicStitch(indices=[[0, 1], [1]], data=[tf.shape(x), [1]]),
        reals(2, 3),
        unknown_shapes=True,
    )
    case(
        "ParallelDynamicStitch",
        lambda a, b: raw.ParallelDynamicStitch(indices=[[0, 2], [1, 3]], data=[a, b]),
        reals(2, 3),
        reals(2, 3),
    )
    case("Unique", lambda x: raw.Unique(x=x), np.array([4, 1, 4, 2, 1, 9], np.int64))
    case("Unique/int64", lambda x: raw.Unique(x=x, out_idx=tf.int64), np.array([0.5, 0.25, 0.5]))
    case(
        "DynamicPartition",
        lambda x, p: tf.raw_ops.DynamicPartition(data=x, partitions=p, num_partitions=4),
        reals(5, 2),
        np.array([2, 0, 2, 1, 0], np.int32),
    )
    case(
        "DynamicPartition/matrix",
        lambda x, p: tf.raw_ops.DynamicPartition(data=x, partitions=p, num_partitions=2),
        reals(2, 3, 2),
        np.array([[1, 0, 1], [1, 1, 0]], np.int32),
    )
