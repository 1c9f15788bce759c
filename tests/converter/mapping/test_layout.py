"""Layouts permute axes without copying, and can be inverted."""

from __future__ import annotations

import numpy as np
import pytest

from converter.mapping.layout import CONV2D, DENSE, DEPTHWISE, IDENTITY, LAYOUTS


def test_conv2d_layout_moves_output_channels_first() -> None:
    """HWIO becomes OIHW: element [h, w, i, o] moves to [o, i, h, w]."""
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)

    converted = CONV2D.apply(kernel)

    assert converted.shape == (5, 4, 2, 3)
    assert converted[4, 3, 1, 2] == kernel[1, 2, 3, 4]
    assert converted[1, 2, 0, 1] == kernel[0, 1, 2, 1]


def test_dense_layout_swaps_inputs_and_outputs() -> None:
    """The layout is the transpose: IO becomes OI."""
    kernel = np.array([[1, 2, 3], [4, 5, 6]])

    converted = DENSE.apply(kernel)

    assert converted.tolist() == [[1, 4], [2, 5], [3, 6]]


def test_depthwise_layout_keeps_channel_multiplier_order() -> None:
    """HWIM becomes (I·M)1HW, and multiplier m of input i is channel i·M + m."""
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)

    converted = DEPTHWISE.apply(kernel)

    assert converted.shape == (4 * 5, 1, 2, 3)
    assert converted[3 * 5 + 4, 0, 1, 2] == kernel[1, 2, 3, 4]
    assert converted[0 * 5 + 1, 0, 0, 0] == kernel[0, 0, 0, 1]


def test_identity_layout_takes_any_rank() -> None:
    """A scalar and a matrix are returned unchanged."""
    for array in (np.array(3.0), np.ones((2, 3))):
        assert IDENTITY.apply(array) is array


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_does_not_copy(name: str) -> None:
    """A converted tensor is a view of its source, so a memory map remains the only copy."""
    source = np.ones(range(2, 2 + (len(LAYOUTS[name].permutation) or 4)))

    converted = LAYOUTS[name].apply(source)

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

    restored = LAYOUTS[name].invert(LAYOUTS[name].apply(source), shape)

    assert restored.shape == shape
    assert np.array_equal(restored, source)


@pytest.mark.parametrize("name", LAYOUTS)
def test_target_shape_is_the_shape_of_the_converted_tensor(name: str) -> None:
    """The target shape is known without the values."""
    source = np.ones(range(2, 2 + (len(LAYOUTS[name].permutation) or 4)))

    assert LAYOUTS[name].target_shape(source.shape) == LAYOUTS[name].apply(source).shape


@pytest.mark.parametrize(("name", "shape"), [("conv2d", (3, 3, 4)), ("depthwise", (3, 3, 4)), ("dense", (3,))])
def test_layout_rejects_a_wrong_rank(name: str, shape: tuple[int, ...]) -> None:
    """The error names the layout; a shape with one more axis is accepted."""
    with pytest.raises(ValueError, match=name):
        LAYOUTS[name].target_shape(shape)

    assert LAYOUTS[name].target_shape((*shape, 2))


def test_layout_inverse_rejects_a_source_shape_that_does_not_match() -> None:
    """The source shape must become the shape of the array; the error names the layout."""
    converted = DENSE.apply(np.ones((3, 4)))

    with pytest.raises(ValueError, match="dense"):
        DENSE.invert(converted, (4, 3))
    assert DENSE.invert(converted, (3, 4)).shape == (3, 4)


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

    converted = LAYOUTS[name].apply(source)

    assert converted.shape == (fourth, third, *kernel)
    assert np.array_equal(converted[2, 1], source[..., 1, 2])


def test_source_shape_follows_from_the_target_shape() -> None:
    """The channel multiplier of a depthwise kernel is assumed to be 1; every other layout is exact."""
    assert LAYOUTS["conv2d"].source_shape((5, 4, 2, 3)) == (2, 3, 4, 5)
    assert LAYOUTS["depthwise"].source_shape((20, 1, 2, 3)) == (2, 3, 20, 1)
    assert LAYOUTS["identity"].source_shape((7,)) == (7,)
    with pytest.raises(ValueError, match="dense"):
        DENSE.source_shape((3,))
