"""Types that several modules share; nothing here is part of the public interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from tfckpt._typing import Array, PathLike, Progress

__all__ = ["Array", "HasShape", "PathLike", "Progress", "SourceLike"]

#: What can be converted: a path that `tfckpt.open` takes, an open checkpoint, or arrays by TensorFlow's names.
SourceLike: TypeAlias = PathLike | Mapping[str, Array]


class HasShape(Protocol):
    """An array or a tensor; only its shape is used."""

    @property
    def shape(self) -> Sequence[int]:
        """Sizes of the axes."""
