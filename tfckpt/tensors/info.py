"""What is known of a tensor without reading its bytes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .slices import TensorSlice


@dataclasses.dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a checkpoint.

    `shape` is the full shape, also of a tensor that is stored in slices.
    `nbytes` is what its payload takes in the data files, in bytes.
    `shard`, `offset` (bytes) and `crc32c` (unmasked) say where one payload lies and what it must give;
    they are None for a tensor that is stored in slices, and `slices` is empty for one that is not.
    `dtype` is what reading gives (`object` of `bytes` for strings); `tf_dtype` is TensorFlow's name, such as DT_FLOAT.
    """

    name: str
    dtype: np.dtype[Any]
    tf_dtype: str
    shape: tuple[int, ...]
    nbytes: int
    shard: int | None
    offset: int | None
    crc32c: int | None
    slices: tuple[TensorSlice, ...] = ()

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=object)) if self.shape else 1
