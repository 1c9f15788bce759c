"""The sizes that a program takes: fixed numbers and axes of any size, and the sizes at which it is checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from ..errors import ExportError, FeedError, Shape
from ..model.config import MAX_SIDE
from .subject import Argument, NamedAxis, Subject

#: The batch of the example that is traced; torch.export takes a size of 1 for a fixed one.
_TRACED_BATCH = 2
_CHECKED_BATCHES = (1, 3)
#: Height and width of the traced example, and of the checks: odd, even, not square, and small, where the last feature
#: map of most networks is a single pixel.
_TRACED_SIDES = (64, 64)
_CHECKED_SIDES = ((65, 65), (96, 96), (66, 97), (32, 31))
#: The same for any other axis.
_TRACED_SIZE = 32
_CHECKED_SIZES = (33, 48, 21, 17)
BATCH = "batch"
_SIDES = ("height", "width")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ShapeOptions:
    """What the caller asks for.

    `batch` and `size` (height, width) are fixed numbers; `dynamic_batch` and `dynamic_size` require any number.
    `static` fixes every size. `dynamic` lists axes of any size by the name of their input.
    """

    batch: int | None = None
    dynamic_batch: bool = False
    size: tuple[int, int] | None = None
    dynamic_size: bool = False
    static: bool = False
    dynamic: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise `ExportError` for options that contradict each other."""
        contradictions = (
            (self.batch is not None and self.dynamic_batch, "a fixed batch and any batch"),
            (self.size is not None and self.dynamic_size, "a fixed size and any size"),
            (
                self.static and (self.dynamic_batch or self.dynamic_size or bool(self.dynamic)),
                "fixed sizes and any size",
            ),
        )
        for contradicts, what in contradictions:
            if contradicts:
                raise ExportError(f"{what} cannot both be requested")
        if self.batch is not None and self.batch < 1:
            raise ExportError(f"the batch is {self.batch}, expected at least 1")
        if self.size is not None and not all(1 <= side <= MAX_SIDE for side in self.size):
            raise ExportError(f"the size is {' by '.join(map(str, self.size))}, expected 1 to {MAX_SIDE} pixels")

    @property
    def requires_dynamic(self) -> bool:
        """Whether an axis of any size is required."""
        return self.dynamic_batch or self.dynamic_size or bool(self.dynamic)


class Axis(NamedTuple):
    """An axis of any size: its name, the size that is traced, the sizes to check, and whether it may become fixed."""

    name: str
    traced: int
    checked: tuple[int, ...]
    is_required: bool
    #: The size if the axis becomes fixed after all.
    fixed: int


#: The axes of every argument, by its name.
Shapes: TypeAlias = dict[str, tuple[int | Axis, ...]]


def choose_shapes(subject: Subject, options: ShapeOptions, *, allows_dynamic: bool) -> Shapes:
    """Return the axes of every argument; without `allows_dynamic` all sizes are fixed.

    Raises `FeedError` for sizes that the module does not take.
    """
    known = {argument.name: len(argument.shape) for argument in subject.arguments}
    for name, axes in options.dynamic.items():
        if name not in known:
            raise FeedError(f"there is no input {name}; the inputs are {', '.join(known)}")
        if not all(0 <= axis < known[name] for axis in axes):
            raise FeedError(f"the input {name} has {known[name]} axes, counted from 0")
    if not allows_dynamic:
        options = dataclasses.replace(options, static=True)
    return {
        argument.name: tuple(_choose_axis(subject, argument, number, options) for number in range(len(argument.shape)))
        for argument in subject.arguments
    }


def _choose_axis(subject: Subject, argument: Argument, number: int, options: ShapeOptions) -> int | Axis:
    declared = argument.shape[number]
    is_required = number in options.dynamic.get(argument.name, ())
    if number == 0 and (declared is None or options.dynamic_batch or options.batch is not None):
        if declared is not None and (options.dynamic_batch or is_required or options.batch != declared):
            raise FeedError(f"the input {argument.name} has a fixed batch of {declared}")
        if options.batch is not None or options.static:
            return options.batch or 1
        return Axis(BATCH, _TRACED_BATCH, _CHECKED_BATCHES, is_required or options.dynamic_batch, 1)
    if number in argument.sides:
        return _choose_side(subject, argument, number, options, is_required=is_required)
    if declared is None:
        if options.size is not None and not is_required:
            return options.size[0]
        if options.static:
            raise _ask_for_size(f"axis {number} of the input {argument.name}")
        name, most, turn = argument.axes.get(number, NamedAxis(f"{argument.name}_{number}"))
        sizes = [_TRACED_SIZE, *_CHECKED_SIZES]
        if most is not None and most < max(sizes):
            sizes = [max(1, most * share // 4) for share in (3, 4, 2, 1)]
        traced, *checked = sizes[turn:] + sizes[:turn]
        return Axis(name, traced, tuple(checked), is_required, traced)
    if is_required:
        raise FeedError(f"axis {number} of the input {argument.name} has the fixed size {declared}")
    return declared


def _choose_side(
    subject: Subject, argument: Argument, number: int, options: ShapeOptions, *, is_required: bool
) -> int | Axis:
    """Return height or width of an image."""
    declared = argument.shape[number]
    which = argument.sides.index(number)
    is_required = is_required or options.dynamic_size
    size = None if options.size is None else options.size[which]
    if declared is not None:
        if is_required or size not in (None, declared):
            raise FeedError(f"the input {argument.name} has the fixed {_SIDES[which]} {declared}")
        return declared
    if size is None and not is_required:
        size = subject.size
    if size is not None and not is_required:
        return size
    if not is_required and options.static:
        raise _ask_for_size("the network" if subject.kind == "network" else f"the input {argument.name}")
    checked = tuple(sides[which] for sides in _CHECKED_SIDES)
    return Axis(_SIDES[which], _TRACED_SIDES[which], checked, is_required, _TRACED_SIDES[which])


def _ask_for_size(what: str) -> ExportError:
    return ExportError(f"{what} has no usual size; give one with --size N (size=N)")


def list_axes(shapes: Shapes) -> dict[str, Axis]:
    """Return every axis of any size, by name."""
    return {axis.name: axis for axes in shapes.values() for axis in axes if isinstance(axis, Axis)}


def fix_axes(shapes: Shapes, names: set[str]) -> Shapes:
    """Return shapes in which these axes have fixed sizes."""
    return {
        argument: tuple(axis.fixed if isinstance(axis, Axis) and axis.name in names else axis for axis in axes)
        for argument, axes in shapes.items()
    }


def traced_shapes(shapes: Shapes) -> dict[str, Shape]:
    """Return the shape of every input of the example that is traced."""
    return {
        name: tuple(axis.traced if isinstance(axis, Axis) else axis for axis in axes) for name, axes in shapes.items()
    }


def checked_shapes(shapes: Shapes) -> Iterator[dict[str, Shape]]:
    """Yield the shapes of the inputs of every check: each batch at one size, then one batch at every other size."""
    axes = list_axes(shapes)
    others = [axis for name, axis in axes.items() if name != BATCH]
    batches = axes[BATCH].checked if BATCH in axes else (0,)
    settings: list[dict[str, int]] = [
        {BATCH: batch, **{axis.name: axis.traced for axis in others}} for batch in batches
    ]
    for variant in range(max((len(axis.checked) for axis in others), default=0)):
        settings.append({BATCH: batches[0], **{axis.name: axis.checked[variant] for axis in others}})
    for setting in settings:
        yield {
            name: tuple(setting[axis.name] if isinstance(axis, Axis) else axis for axis in axes)
            for name, axes in shapes.items()
        }


def describe_shape(axes: tuple[int | Axis, ...]) -> str:
    """Return axes for people, such as `[batch, 3, 224, 224]`."""
    return "[" + ", ".join(axis.name if isinstance(axis, Axis) else str(axis) for axis in axes) + "]"
