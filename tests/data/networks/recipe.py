"""Values for variables from a formula, so that only the graphs of large networks have to be kept.

Used by `generate.py`, which gives them to TensorFlow's variables, and by the tests, which write them where the index
of the checkpoint says; its checksums show that both are the same.
NumPy is all that is needed, and only integer arithmetic of a fixed width decides the values.
"""

from __future__ import annotations

import math
import zlib

import numpy as np


def values(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 values of the variable with this checkpoint key.

    Vectors, which may be variances, lie between 1/2 and 3/2. All others are around 0, within a power of two near
    2 / sqrt(inputs).
    """
    numbers = _hash(np.arange(math.prod(shape), dtype=np.uint32), zlib.crc32(key.encode()))
    steps = (numbers >> np.uint32(16)).astype(np.float32) / np.float32(1 << 16)  # from 0 to 1
    if len(shape) < 2:
        return (steps + np.float32(0.5)).reshape(shape)
    inputs = math.prod(shape[:-1]) if shape[-1] != 1 or len(shape) < 4 else math.prod(shape[:2])
    scale = np.float32(2.0 ** round(1 - math.log2(inputs) / 2))
    return ((steps - np.float32(0.5)) * np.float32(2) * scale).reshape(shape)


def _hash(counter: np.ndarray, seed: int) -> np.ndarray:
    """Mix the bits of a counter."""
    mixed = counter * np.uint32(0x9E3779B1) + np.uint32(seed)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return mixed
