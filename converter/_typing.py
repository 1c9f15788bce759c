"""Types shared by several modules; none of them is public."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from tfckpt._typing import Array, PathLike, Progress

__all__ = ["Array", "HasShape", "PathLike", "Progress", "SourceLike"]

#: A source to convert: a path that `tfckpt.open` accepts, an open checkpoint, or arrays by TensorFlow name.
SourceLike: TypeAlias = PathLike | Mapping[str, Array]


class HasShape(Protocol):
    """An array or a tensor; only its shape is used."""

    @property
    def shape(self) -> Sequence[int]:
        """Sizes of the axes."""
