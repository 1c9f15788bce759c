"""Compare arrays with recorded ones: by a digest where they must be equal, by a distance where they are computed."""

from __future__ import annotations

import hashlib

import numpy as np

from tfckpt._typing import Array


def digest(array: Array) -> str:
    """Return the recorded SHA-256: of the bytes in little-endian order, or of strings, each after its length."""
    if array.dtype == object:
        parts = [len(item).to_bytes(8, "little") + item for item in array.reshape(-1).tolist()]
        return hashlib.sha256(b"".join(parts)).hexdigest()
    little = array.astype(array.dtype.newbyteorder("<")) if array.dtype.kind in "iufc" else array
    return hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest()


def distance(found: Array, expected: Array) -> float:
    """Return the largest difference, divided by the largest expected magnitude."""
    assert found.shape == expected.shape
    return float(np.abs(found.astype(np.float64) - expected).max() / np.abs(expected).max())
