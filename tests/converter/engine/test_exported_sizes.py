"""Graphs with open sizes are exported to ONNX, and computed there as they are here."""

from __future__ import annotations

import pytest
import torch

from converter.engine import graph_module
from tests.conftest import slow
from tests.converter.exported import check_sizes, export_to_onnx

from .graphs import constant, graph, integers, node, placeholder

DYNAMIC = torch.export.Dim.DYNAMIC
SIZES = ((32, 32), (33, 33), (45, 38), (47, 40))


def numbers(name: str, *values: int) -> str:
    """Return a list attribute."""
    return f'attr {{ key: "{name}" value {{ list {{ {" ".join(f"i: {value}" for value in values)} }} }} }}'


def same(*attributes: str) -> str:
    """Return the attributes of a window with SAME padding."""
    return 'attr { key: "padding" value { s: "SAME" } } ' + " ".join(attributes)


STRIDES = numbers("strides", 1, 2, 2, 1)
THREE = numbers("ksize", 1, 3, 3, 1)
WINDOWS = {
    "convolution": (constant("k", 0.5, 3, 3, 2, 4), node("y", "Conv2D", "x", "k", attributes=same(STRIDES))),
    "depthwise": (
        constant("k", 0.5, 3, 3, 2, 1),
        node("y", "DepthwiseConv2dNative", "x", "k", attributes=same(STRIDES)),
    ),
    "skipping": (
        constant("k", 0.5, 2, 2, 2, 4),
        node("y", "Conv2D", "x", "k", attributes=same(numbers("strides", 1, 3, 3, 1))),
    ),
    "max_pool": (node("y", "MaxPool", "x", attributes=same(STRIDES, THREE)),),
    "mean_pool": (node("y", "AvgPool", "x", attributes=same(STRIDES, THREE)),),
    "patches": (
        node(
            "y",
            "ExtractImagePatches",
            "x",
            attributes=same(numbers("ksizes", 1, 3, 3, 1), STRIDES, numbers("rates", 1, 1, 1, 1)),
        ),
    ),
}


#: One window with weights and one without; the others compute their padding in the same function.
QUICK = {"depthwise", "max_pool"}


@pytest.mark.parametrize(
    ("kind", "dtype"),
    # In float64 a depthwise convolution is a sum of slices; onnxruntime has few other operations for it.
    [(kind, "float32") if kind in QUICK else slow(kind, "float32") for kind in WINDOWS]
    + [slow("depthwise", "float64")],
)
def test_windows_with_same_padding_are_right_in_onnx(kind: str, dtype: str) -> None:
    """The padding of every size is computed in the exported file."""
    torch.manual_seed(0)
    module = graph_module(graph(placeholder("x", 2, -1, -1, 2), *WINDOWS[kind]), inputs="x", outputs="y", dtype=dtype)

    run = export_to_onnx(module, torch.randn(2, 45, 38, 2), {"x": {1: DYNAMIC, 2: DYNAMIC}})

    check_sizes(module, run, [torch.randn(2, *size, 2) for size in SIZES])


def test_rounding_up_by_negative_numbers_is_right_in_onnx() -> None:
    """`-(-size // 2)` is ceil(size / 2) in TensorFlow, and ONNX divides toward zero."""
    parts = (
        placeholder("x", -1, 3),
        node("shape", "Shape", "x"),
        integers("two", 2, 1),
        node("negative", "Neg", "shape"),
        node("half", "FloorDiv", "negative", "two"),
        node("rows", "Neg", "half"),
        constant("one", 1.0),
        node("y", "Fill", "rows", "one"),
    )
    module = graph_module(graph(*parts), inputs="x", outputs="y")

    run = export_to_onnx(module, torch.randn(10, 3), {"x": {0: DYNAMIC}})

    assert [run(torch.zeros(size, 3)).shape for size in (8, 9, 12, 13)] == [(4, 3), (5, 3), (6, 3), (7, 3)]


def test_truncating_division_of_a_negative_size_is_right_in_onnx() -> None:
    """TensorFlow's TruncateDiv rounds toward zero for negative numbers, too."""
    parts = (
        placeholder("x", -1, 3),
        node("shape", "Shape", "x"),
        integers("two", 2, 1),
        node("negative", "Neg", "shape"),
        node("half", "TruncateDiv", "negative", "two"),
        node("rows", "Neg", "half"),
        constant("one", 1.0),
        node("y", "Fill", "rows", "one"),
    )
    module = graph_module(graph(*parts), inputs="x", outputs="y")

    program = torch.export.export(module, (torch.randn(10, 3),), dynamic_shapes={"x": {0: DYNAMIC}}).module()
    run = export_to_onnx(module, torch.randn(10, 3), {"x": {0: DYNAMIC}})

    for size, half in ((8, 4), (9, 4), (13, 6)):
        assert run(torch.zeros(size, 3)).shape == program(torch.zeros(size, 3)).shape == (half, 3)
