"""Blocks of an image moved into its channels or its batch."""

from __future__ import annotations

import tensorflow as tf

from cases import reals
from cases.convolution import _to_first, _to_last


def record(case):
    raw = tf.raw_ops
    case("SpaceToDepth", lambda x: raw.SpaceToDepth(input=x, block_size=2), reals(2, 4, 6, 3))
    case("DepthToSpace", lambda x: raw.DepthToSpace(input=x, block_size=2), reals(2, 2, 3, 8))
    case("DepthToSpace/3", lambda x: raw.DepthToSpace(input=x, block_size=3), reals(1, 2, 1, 18))
    case(
        "SpaceToDepth/NCHW",
        lambda x: raw.SpaceToDepth(input=x, block_size=2, data_format="NCHW"),
        reals(2, 3, 4, 6),
        exact=lambda x: _to_first(raw.SpaceToDepth(input=_to_last(x), block_size=2)),
    )
    case(
        "DepthToSpace/NCHW",
        lambda x: raw.DepthToSpace(input=x, block_size=2, data_format="NCHW"),
        reals(2, 8, 2, 3),
        exact=lambda x: _to_first(raw.DepthToSpace(input=_to_last(x), block_size=2)),
    )
    case(
        "SpaceToBatchND",
        lambda x: raw.SpaceToBatchND(input=x, block_shape=[2, 3], paddings=[[1, 0], [0, 2]]),
        reals(2, 3, 4, 2),
    )
    case(
        "SpaceToBatchND/one axis",
        lambda x: raw.SpaceToBatchND(input=x, block_shape=[2], paddings=[[0, 1]]),
        reals(1, 5, 3),
    )
    case(
        "BatchToSpaceND",
        lambda x: raw.BatchToSpaceND(input=x, block_shape=[2, 3], crops=[[1, 0], [0, 2]]),
        reals(6, 2, 2, 2),
    )
    case(
        "BatchToSpaceND/one axis",
        lambda x: raw.BatchToSpaceND(input=x, block_shape=[2], crops=[[0, 1]]),
        reals(2, 3, 3),
    )
    for padding in ("SAME", "VALID"):
        case(
            f"ExtractImagePatches/{padding}",
            lambda x, p=padding: raw.ExtractImagePatches(
                images=x, ksizes=[1, 2, 3, 1], strides=[1, 2, 1, 1], rates=[1, 1, 2, 1], padding=p
            ),
            reals(1, 5, 7, 2),
        )
