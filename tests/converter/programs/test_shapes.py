"""The sizes that a program takes, chosen from what a module declares and what a caller asks for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from converter.errors import ExportError, FeedError
from converter.programs.shapes import (
    ShapeOptions,
    checked_shapes,
    choose_shapes,
    describe_shape,
    fix_axes,
    traced_shapes,
)
from converter.programs.subject import Argument, Kind, NamedAxis, Subject


def subject(kind: Kind, size: int | None, **shapes: tuple[int | None, ...]) -> Subject:
    """Return a subject whose inputs have these shapes; those of four axes are NHWC images, or NCHW ones of networks."""
    return Subject(
        kind=kind,
        title="test",
        module=nn.Identity(),
        make_exact=nn.Identity,
        arguments=tuple(
            Argument(
                name=name,
                dtype=torch.float32,
                shape=shape,
                sides=() if len(shape) != 4 else (2, 3) if kind == "network" else (1, 2),
            )
            for name, shape in shapes.items()
        ),
        outputs=("y",),
        size=size,
    )


NETWORK = subject("network", 224, image=(None, 3, None, None))
SIZELESS = subject("network", None, image=(None, 3, None, None))
GRAPH = subject("graph", None, image=(None, None, None, 3), tokens=(None, None), mask=(None, 7))
FIXED = subject("graph", None, image=(4, 32, 48, 3))


@pytest.mark.parametrize(
    ("source", "options", "dynamic", "expected"),
    [
        (NETWORK, {}, True, ["[batch, 3, 224, 224]"]),
        (NETWORK, {}, False, ["[1, 3, 224, 224]"]),
        (NETWORK, {"batch": 8, "size": (64, 96)}, True, ["[8, 3, 64, 96]"]),
        (NETWORK, {"static": True}, True, ["[1, 3, 224, 224]"]),
        (NETWORK, {"dynamic_size": True}, True, ["[batch, 3, height, width]"]),
        (NETWORK, {"dynamic": {"image": (3,)}}, True, ["[batch, 3, 224, width]"]),
        (SIZELESS, {}, True, ["[batch, 3, height, width]"]),
        (GRAPH, {}, True, ["[batch, height, width, 3]", "[batch, tokens_1]", "[batch, 7]"]),
        (GRAPH, {"size": (64, 64)}, True, ["[batch, 64, 64, 3]", "[batch, 64]", "[batch, 7]"]),
        (GRAPH, {"size": (9, 9), "dynamic": {"tokens": (1,)}}, True,
         ["[batch, 9, 9, 3]", "[batch, tokens_1]", "[batch, 7]"]),
        (FIXED, {}, True, ["[4, 32, 48, 3]"]),
        (FIXED, {"batch": 4, "size": (32, 48)}, True, ["[4, 32, 48, 3]"]),
    ],
)  # fmt: skip
def test_axes_are_fixed_or_have_any_size(
    source: Subject, options: dict[str, Any], dynamic: bool, expected: list[str]
) -> None:
    """As the module, the destination and the caller allow."""
    shapes = choose_shapes(source, ShapeOptions(**options), allows_dynamic=dynamic)

    assert [describe_shape(axes) for axes in shapes.values()] == expected


@pytest.mark.parametrize(
    ("source", "options", "error"),
    [
        (SIZELESS, {"static": True}, ExportError),
        (GRAPH, {"static": True}, ExportError),
        (FIXED, {"batch": 2}, FeedError),
        (FIXED, {"dynamic_batch": True}, FeedError),
        (FIXED, {"size": (32, 32)}, FeedError),
        (FIXED, {"dynamic_size": True}, FeedError),
        (FIXED, {"dynamic": {"image": (0,)}}, FeedError),
        (GRAPH, {"dynamic": {"mask": (1,)}}, FeedError),
    ],
)
def test_sizes_that_a_module_does_not_take_are_refused(
    source: Subject, options: dict[str, Any], error: type[Exception]
) -> None:
    """Before anything is traced."""
    with pytest.raises(error):
        choose_shapes(source, ShapeOptions(**options), allows_dynamic=True)


def test_every_axis_of_any_size_is_checked_at_several_sizes() -> None:
    """Equal axes of several inputs have equal sizes, axes that need not be equal others, and a fixed one has one."""
    shapes = choose_shapes(GRAPH, ShapeOptions(), allows_dynamic=True)

    checked = list(checked_shapes(shapes))
    assert {sizes["image"][0] for sizes in checked} == {1, 3}
    assert all(sizes["image"][0] == sizes["tokens"][0] == sizes["mask"][0] for sizes in checked)
    assert len({sizes["image"][1:3] for sizes in checked}) == 5
    assert len({sizes["tokens"][1] for sizes in checked}) == 5
    lengths = {name: NamedAxis(name, turn=turn) for turn, name in enumerate(("length", "decoder_length"))}
    words = [
        Argument(name=name, dtype=torch.int64, shape=(None, None), axes={1: axis}) for name, axis in lengths.items()
    ]
    apart = choose_shapes(dataclasses.replace(GRAPH, arguments=tuple(words)), ShapeOptions(), allows_dynamic=True)
    for sizes in (traced_shapes(apart), *checked_shapes(apart)):
        assert sizes["length"][1] != sizes["decoder_length"][1]
    fixed = list(checked_shapes(fix_axes(shapes, {"batch", "height", "width"})))
    assert {sizes["image"] for sizes in fixed} == {(1, 64, 64, 3)}
