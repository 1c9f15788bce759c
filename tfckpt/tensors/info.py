"""The description of a tensor, known without reading its bytes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from .slices import TensorSlice


@dataclasses.dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a checkpoint.

    `dtype` is the dtype of the array (`object` with elements of `bytes` for strings), and `tf_dtype` is TensorFlow's
    name, such as `DT_FLOAT`.
    `shape` is the full shape, also if the tensor is stored in slices.
    `nbytes` is the size of its payload in the data files in bytes.
    `shard`, `offset` (bytes) and `crc32c` (unmasked) locate the payload and give its checksum. They are None if the
    tensor is stored in slices; otherwise, `slices` is empty.
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
        """The number of elements."""
        return math.prod(self.shape)


#: `TensorInfo` without `frozen`, whose `__init__` takes six times as long.
_Fields = dataclasses.make_dataclass("_Fields", [field.name for field in dataclasses.fields(TensorInfo)], slots=True)


def make_info(*values: Any) -> TensorInfo:
    """Return `TensorInfo(*values)`, of all its fields, in less time: a listing creates one for each tensor."""
    info: Any = _Fields(*values)
    info.__class__ = TensorInfo
    return info  # type: ignore[no-any-return]  # of this class now
