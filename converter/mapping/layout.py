"""Layouts: how to turn the axes of a TensorFlow tensor into those of a PyTorch tensor, reversibly.

A layout is spelled with a letter for each axis, before and after::

    HWIO -> OIHW        permute
    1IO -> OI           drop an axis of size 1; on the right, 1 adds one
    HWIM -> (IM)1HW     merge axes; channel i·M + m is multiplier m of input i

A letter on one side only is an axis of size 1 too; rules cut and join along such axes.
An order moves equal parts of an axis, such as the gates of a recurrent cell: `G: i j f o -> i f j o`.
In reports it follows the axes after a semicolon.

The usual layouts have names::

    conv2d     HWIO -> OIHW      convolution kernels
    depthwise  HWIM -> (IM)1HW   depthwise kernels
    dense      IO -> OI          dense kernels
    identity   any, unchanged    everything else
    conv1d     WIO -> OIW        kernels of convolutions over one axis
    conv3d     DHWIO -> OIDHW    kernels of convolutions over three axes
    conv2d_transpose  HWOI -> IOHW  kernels of transposed convolutions

D, H and W are depth, height and width of the kernel, I input channels, O output channels, M the channel multiplier.
Each rule names its layout, because neither the rank nor the end of the name distinguishes a depthwise kernel from a
convolution.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re

import numpy as np

from .._typing import Array
from ..errors import Shape

#: The names of layouts, and their axes.
NAMED = {
    "identity": "",
    "conv2d": "HWIO -> OIHW",
    "depthwise": "HWIM -> (IM)1HW",
    "dense": "IO -> OI",
    "conv1d": "WIO -> OIW",
    "conv3d": "DHWIO -> OIDHW",
    "conv2d_transpose": "HWOI -> IOHW",
}

_AXES = re.compile(r"\s*([A-Z1]*)\s*->\s*((?:[A-Z1]|\([A-Z]+\))*)\s*")
_ORDER = re.compile(r"\s*([A-Z])\s*:((?:\s+\S+)+)\s+->((?:\s+\S+)+)\s*")
#: NumPy's limit on the number of axes is 64, but a layout has at most one axis for each letter and a few of size 1.
_MAX_AXES = 32


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """A layout, known by its `name`: one of `NAMED`, or its axes, with the order after a semicolon if there is one.

    `source` has a letter, or 1, for each axis of the source; `target` has the letters that each axis of the target
    merges, none for an axis of size 1. Both are empty for the identity, which accepts any rank.
    `ordered` is the letter whose equal parts move, and `order` the position in the source of each part of the target.
    """

    name: str
    source: str = ""
    target: tuple[str, ...] = ()
    ordered: str = ""
    order: tuple[int, ...] = ()

    @property
    def rank(self) -> int | None:
        """The number of axes of a source; None if any is accepted."""
        return len(self.source) if self.source or self.target else None

    def target_shape(self, shape: Shape) -> Shape:
        """Return the target shape for a source of `shape`; raise `ValueError` if its axes do not match the layout."""
        self.check_shape(shape)
        if self.rank is None:
            return tuple(shape)
        sizes = dict(zip(self.source, shape, strict=True))
        return tuple(math.prod(sizes.get(letter, 1) for letter in merged) for merged in self.target)

    def apply(self, array: Array) -> Array:
        """Return the target array; a view of the source array unless the layout has an order.

        Axes are merged without a copy if they are adjacent in memory, as I and M of a depthwise kernel are.
        """
        self.check_shape(array.shape)
        if self.rank is None:
            return array
        if self.order:
            array = _reorder(array, self.source.index(self.ordered), self.order)
        shape = self.target_shape(array.shape)
        used = self._used
        array = array.reshape([array.shape[self.source.index(letter)] for letter in self._kept])
        converted: Array = array.transpose([self._kept.index(letter) for letter in used]).reshape(shape)
        return converted

    def invert(self, array: Array, source_shape: Shape) -> Array:
        """Return the source array of a target array; raise `ValueError` if `source_shape` does not become its shape."""
        if array.shape != self.target_shape(source_shape):
            raise ValueError(
                f"layout {self.name} turns {list(source_shape)} into {list(self.target_shape(source_shape))}, "
                f"not {list(array.shape)}"
            )
        if self.rank is None:
            return array
        sizes = dict(zip(self.source, source_shape, strict=True))
        used = self._used
        array = array.reshape([sizes[letter] for letter in used])
        array = array.transpose([used.index(letter) for letter in self._kept]).reshape(source_shape)
        if self.order:
            return _reorder(array, self.source.index(self.ordered), tuple(np.argsort(self.order).tolist()))
        return array

    def source_shape(self, shape: Shape) -> Shape:
        """Return the source shape for a target of `shape`; raise `ValueError` if its axes do not match the layout.

        Of axes that were merged, all but the first are assumed to have size 1, as the channel multiplier nearly always
        has.
        """
        if self.rank is None:
            return tuple(shape)
        added = [size for size, merged in zip(shape, self.target, strict=False) if not set(merged) & set(self.source)]
        if len(shape) != len(self.target) or any(size != 1 for size in added):
            raise ValueError(f"layout {self.name} has {len(self.target)} target axes, not {list(shape)}")
        sizes = {merged[0]: size for merged, size in zip(self.target, shape, strict=True) if merged}
        source = tuple(sizes.get(letter, 1) for letter in self.source)
        self.check_shape(source)
        return source

    def check_shape(self, shape: Shape) -> None:
        """Raise `ValueError` unless a source of this shape has the axes of this layout."""
        if self.rank is None:
            return
        if len(shape) != self.rank:
            raise ValueError(f"layout {self.name} needs the {self.rank} axes {self.source}, not {list(shape)}")
        kept = set(self._kept)
        for axis, (letter, size) in enumerate(zip(self.source, shape, strict=True)):
            if letter not in kept and size != 1:
                raise ValueError(f"layout {self.name} drops axis {axis}, which has size {size}, not 1")
        if self.order and shape[self.source.index(self.ordered)] % len(self.order):
            size = shape[self.source.index(self.ordered)]
            raise ValueError(f"axis {self.ordered} of size {size} does not divide into {len(self.order)} equal parts")

    def without(self, letter: str) -> Layout:
        """Return the layout whose target lacks the axis of a letter, which is then of size 1."""
        target = tuple(merged for merged in self.target if merged != letter)
        order = self.name.partition(";")[2]
        return get_layout(f"{self.source} -> {_spell(target)}" + (f";{order}" if order else ""))

    @property
    def _used(self) -> str:
        """The letters of both sides, in the order of the target."""
        return "".join(letter for merged in self.target for letter in merged if letter in self.source)

    @property
    def _kept(self) -> str:
        """The letters of both sides, in the order of the source."""
        used = self._used
        return "".join(letter for letter in self.source if letter in used)


@functools.lru_cache(maxsize=1024)
def get_layout(name: str) -> Layout:
    """Return a layout by its name, or as it is spelled; raise `ValueError` if it is not valid."""
    text, semicolon, order = name.partition(";")
    if not semicolon and name in NAMED:
        return dataclasses.replace(_parse_axes(NAMED[name]), name=name) if NAMED[name] else Layout(name)
    layout = _parse_axes(NAMED.get(text.strip(), text))
    if layout.rank is None:
        raise ValueError("an order needs a layout spelled as axes, such as IO -> OI")
    return _add_order(layout, order) if semicolon else layout


def combine(layout: str, order: str | None) -> str:
    """Return the name of a layout with an order, if there is one."""
    return layout if order is None else f"{layout}; {order}"


def _parse_axes(text: str) -> Layout:
    if not text:
        return Layout("identity")
    match = _AXES.fullmatch(text)
    if match is None or not match[1] + match[2]:
        expected = ", ".join(NAMED)
        raise ValueError(f"unknown layout {text!r}, expected axes such as 1IO -> OI, or one of {expected}")
    source = match[1]
    target = tuple(axis.strip("()1") for axis in re.findall(r"[A-Z1]|\([A-Z]+\)", match[2]))
    letters = "".join(target)
    if max(len(source), len(target)) > _MAX_AXES:
        raise ValueError(f"layout {text!r} has more than {_MAX_AXES} axes")
    for side in (source.replace("1", ""), letters):
        twice = next((letter for letter in side if side.count(letter) > 1), None)
        if twice is not None:
            raise ValueError(f"layout {text!r} has the axis {twice} twice on one side")
    for merged in target:
        if len(merged) > 1 and not set(merged) <= set(source):
            raise ValueError(f"layout {text!r} merges an axis that the source does not have")
    return Layout(f"{source} -> {_spell(target)}", source, target)


def _add_order(layout: Layout, text: str) -> Layout:
    match = _ORDER.fullmatch(text)
    if match is None:
        raise ValueError(f"order {text.strip()!r} is not an axis and its parts, such as G: i j f o -> i f j o")
    axis, before, after = match[1], match[2].split(), match[3].split()
    if axis not in layout.source:
        raise ValueError(f"order {text.strip()!r}: the layout {layout.name} has no source axis {axis}")
    if len(set(before)) < len(before) or sorted(before) != sorted(after):
        raise ValueError(f"order {text.strip()!r}: both sides need the same parts, each once")
    order = tuple(before.index(part) for part in after)
    name = f"{layout.name}; {axis}: {' '.join(before)} -> {' '.join(after)}"
    return dataclasses.replace(layout, name=name, ordered=axis, order=order)


def _spell(target: tuple[str, ...]) -> str:
    return "".join(merged if len(merged) == 1 else f"({merged})" if merged else "1" for merged in target)


def _reorder(array: Array, axis: int, order: tuple[int, ...]) -> Array:
    """Return a copy in which the equal parts of an axis have another order."""
    shape = array.shape
    parts = array.reshape(*shape[:axis], len(order), shape[axis] // len(order), *shape[axis + 1 :])
    moved: Array = parts.take(order, axis).reshape(shape)
    return moved
