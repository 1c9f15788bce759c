"""Layouts permute axes without copying, and can be inverted."""

from __future__ import annotations

import re

import numpy as np
import pytest

from converter.mapping.layout import NAMED, get_layout


def test_conv2d_layout_moves_output_channels_first() -> None:
    """HWIO becomes OIHW: element [h, w, i, o] moves to [o, i, h, w]."""
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)

    converted = get_layout("conv2d").apply(kernel)

    assert converted.shape == (5, 4, 2, 3)
    assert converted[4, 3, 1, 2] == kernel[1, 2, 3, 4]
    assert converted[1, 2, 0, 1] == kernel[0, 1, 2, 1]


def test_dense_layout_swaps_inputs_and_outputs() -> None:
    """The layout is the transpose: IO becomes OI."""
    kernel = np.array([[1, 2, 3], [4, 5, 6]])

    converted = get_layout("dense").apply(kernel)

    assert converted.tolist() == [[1, 4], [2, 5], [3, 6]]


def test_depthwise_layout_keeps_channel_multiplier_order() -> None:
    """HWIM becomes (I·M)1HW, and multiplier m of input i is channel i·M + m."""
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)

    converted = get_layout("depthwise").apply(kernel)

    assert converted.shape == (4 * 5, 1, 2, 3)
    assert converted[3 * 5 + 4, 0, 1, 2] == kernel[1, 2, 3, 4]
    assert converted[0 * 5 + 1, 0, 0, 0] == kernel[0, 0, 0, 1]


def test_identity_layout_takes_any_rank() -> None:
    """A scalar and a matrix are returned unchanged."""
    for array in (np.array(3.0), np.ones((2, 3))):
        assert get_layout("identity").apply(array) is array


@pytest.mark.parametrize("name", NAMED)
def test_layout_does_not_copy(name: str) -> None:
    """A converted tensor is a view of its source, so a memory map remains the only copy."""
    source = np.ones(range(2, 2 + (get_layout(name).rank or 4)))

    converted = get_layout(name).apply(source)

    assert np.shares_memory(converted, source)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("identity", (7,)),
        ("conv2d", (3, 5, 2, 4)),
        ("depthwise", (3, 5, 4, 2)),
        ("depthwise", (3, 3, 8, 1)),
        ("dense", (4, 6)),
        ("conv1d", (3, 4, 5)),
        ("conv3d", (2, 3, 4, 5, 6)),
        ("conv2d_transpose", (2, 3, 4, 5)),
    ],
)
def test_layout_inverse_restores_every_element(name: str, shape: tuple[int, ...]) -> None:
    """Applying a layout and inverting it returns the source."""
    source = np.arange(np.prod(shape)).reshape(shape)

    restored = get_layout(name).invert(get_layout(name).apply(source), shape)

    assert restored.shape == shape
    assert np.array_equal(restored, source)


@pytest.mark.parametrize("name", NAMED)
def test_target_shape_is_the_shape_of_the_converted_tensor(name: str) -> None:
    """The target shape is known without the values."""
    source = np.ones(range(2, 2 + (get_layout(name).rank or 4)))

    assert get_layout(name).target_shape(source.shape) == get_layout(name).apply(source).shape


@pytest.mark.parametrize(("name", "shape"), [("conv2d", (3, 3, 4)), ("depthwise", (3, 3, 4)), ("dense", (3,))])
def test_layout_rejects_a_wrong_rank(name: str, shape: tuple[int, ...]) -> None:
    """The error names the layout; a shape with one more axis is accepted."""
    with pytest.raises(ValueError, match=name):
        get_layout(name).target_shape(shape)

    assert get_layout(name).target_shape((*shape, 2))


def test_layout_inverse_rejects_a_source_shape_that_does_not_match() -> None:
    """The source shape must become the shape of the array; the error names the layout."""
    converted = get_layout("dense").apply(np.ones((3, 4)))

    with pytest.raises(ValueError, match="dense"):
        get_layout("dense").invert(converted, (4, 3))
    assert get_layout("dense").invert(converted, (3, 4)).shape == (3, 4)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("conv1d", (3, 4, 5)), ("conv3d", (2, 3, 4, 5, 6)), ("conv2d_transpose", (2, 3, 5, 4)), ("conv2d", (2, 3, 4, 5))],
)
def test_layout_puts_channels_before_the_kernel_and_keeps_the_kernel_in_order(
    name: str, shape: tuple[int, ...]
) -> None:
    """In PyTorch the two channel axes come first, for convolutions of any rank and for transposed ones."""
    *kernel, third, fourth = shape
    source = np.arange(np.prod(shape)).reshape(shape)

    converted = get_layout(name).apply(source)

    assert converted.shape == (fourth, third, *kernel)
    assert np.array_equal(converted[2, 1], source[..., 1, 2])


def test_source_shape_follows_from_the_target_shape() -> None:
    """The channel multiplier of a depthwise kernel is assumed to be 1; every other layout is exact."""
    assert get_layout("conv2d").source_shape((5, 4, 2, 3)) == (2, 3, 4, 5)
    assert get_layout("depthwise").source_shape((20, 1, 2, 3)) == (2, 3, 20, 1)
    assert get_layout("identity").source_shape((7,)) == (7,)
    with pytest.raises(ValueError, match="dense"):
        get_layout("dense").source_shape((3,))


def test_spelled_layout_is_the_named_one() -> None:
    """The names are abbreviations of axes."""
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)

    for name, axes in NAMED.items():
        if len(axes.partition(" ")[0]) == 4:
            assert np.array_equal(get_layout(name).apply(kernel), get_layout(axes).apply(kernel))


def test_axes_of_size_1_come_and_go() -> None:
    """A 1 on the left is dropped and one on the right is added; an axis of another size is refused."""
    layout = get_layout("1IO -> O1I")

    assert layout.target_shape((1, 3, 4)) == (4, 1, 3)
    assert layout.source_shape((4, 1, 3)) == (1, 3, 4)
    with pytest.raises(ValueError, match="drops axis 0"):
        layout.target_shape((2, 3, 4))


def test_order_moves_equal_parts_of_an_axis() -> None:
    """The gates i j f o of TensorFlow become i f j o, and the way back is the inverse."""
    layout = get_layout("IG -> GI; G: i j f o -> i f j o")
    kernel = np.arange(3 * 8).reshape(3, 8)

    converted = layout.apply(kernel)

    assert converted[:, 0].tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert np.array_equal(layout.invert(converted, (3, 8)), kernel)
    with pytest.raises(ValueError, match="does not divide into 4"):
        layout.target_shape((3, 10))


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("conv4d", "conv4d"),
        ("->", "unknown"),
        ("IO -> OI -> IO", "unknown"),
        ("io -> oi", "unknown"),
        ("II -> I", "I twice"),
        ("IO -> OO", "O twice"),
        ("I -> (IM)", "merges"),
        ("A1" * 17 + " -> A", "more than"),
        ("identity; G: a b -> b a", "axes"),
        ("IO -> OI; G: a b -> b a", "no source axis G"),
        ("IG -> GI; G: a b -> b b", "same parts"),
        ("IG -> GI; G a b", "order"),
    ],
)
def test_invalid_layout_is_refused(text: str, token: str) -> None:
    """The error has what is wrong; the nearest valid spellings are accepted."""
    with pytest.raises(ValueError, match=re.escape(token)):
        get_layout(text)
    assert get_layout("  IG  ->  GI ;  G:  a b  ->  b a ").name == "IG -> GI; G: a b -> b a"
