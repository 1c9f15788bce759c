"""Types that several modules share; nothing here is part of the public interface."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
PathLike: TypeAlias = str | os.PathLike[str]
#: What can be converted: a path that `tfckpt.open` takes, an open checkpoint, or arrays by TensorFlow's names.
SourceLike: TypeAlias = PathLike | Mapping[str, Array]
#: Called with the bytes done and the bytes in all, from time to time.
Progress: TypeAlias = Callable[[int, int], None]


class HasShape(Protocol):
    """An array or a tensor; only its shape is used."""

    @property
    def shape(self) -> Sequence[int]:
        """Sizes of the axes."""
