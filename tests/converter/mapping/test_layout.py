"""Layouts: which axis goes where, as a view, and back again."""

from __future__ import annotations

import numpy as np
import pytest

from converter.mapping.layout import CONV2D, DENSE, DEPTHWISE, IDENTITY, LAYOUTS


def test_conv2d_layout_moves_output_channels_first() -> None:
    """HWIO becomes OIHW: element [h, w, i, o] stands at [o, i, h, w]."""
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)

    converted = CONV2D.apply(kernel)

    assert converted.shape == (5, 4, 2, 3)
    assert converted[4, 3, 1, 2] == kernel[1, 2, 3, 4]
    assert converted[1, 2, 0, 1] == kernel[0, 1, 2, 1]


def test_dense_layout_exchanges_inputs_and_outputs() -> None:
    """IO becomes OI."""
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
    """A scalar and a matrix stay what they are."""
    for array in (np.array(3.0), np.ones((2, 3))):
        assert IDENTITY.apply(array) is array


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_copies_nothing(name: str) -> None:
    """A converted tensor is a view of its source, so that a memory map stays the only copy."""
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
    """Applying a layout and taking it back gives the source."""
    source = np.arange(np.prod(shape)).reshape(shape)

    restored = LAYOUTS[name].invert(LAYOUTS[name].apply(source), shape)

    assert restored.shape == shape
    assert np.array_equal(restored, source)


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_predicts_the_shape_it_makes(name: str) -> None:
    """The shape of a conversion is known without the values."""
    source = np.ones(range(2, 2 + (len(LAYOUTS[name].permutation) or 4)))

    assert LAYOUTS[name].target_shape(source.shape) == LAYOUTS[name].apply(source).shape


@pytest.mark.parametrize(("name", "shape"), [("conv2d", (3, 3, 4)), ("depthwise", (3, 3, 4)), ("dense", (3,))])
def test_layout_rejects_another_rank(name: str, shape: tuple[int, ...]) -> None:
    """A kernel without its axes is refused, with the axes named; one axis more would do."""
    with pytest.raises(ValueError, match=f"layout {name} takes the . axes"):
        LAYOUTS[name].target_shape(shape)

    assert LAYOUTS[name].target_shape((*shape, 2))


def test_layout_inverse_rejects_a_shape_it_did_not_make() -> None:
    """Going back needs the shape that the source makes."""
    converted = DENSE.apply(np.ones((3, 4)))

    with pytest.raises(ValueError, match=r"makes \[3, 4\] of \[4, 3\], not \[4, 3\]"):
        DENSE.invert(converted, (4, 3))
    assert DENSE.invert(converted, (3, 4)).shape == (3, 4)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("conv1d", (3, 4, 5)), ("conv3d", (2, 3, 4, 5, 6)), ("conv2d_transpose", (2, 3, 5, 4)), ("conv2d", (2, 3, 4, 5))],
)
def test_layout_puts_channels_before_the_kernel_and_keeps_the_kernel_in_order(
    name: str, shape: tuple[int, ...]
) -> None:
    """Convolutions of any rank have their two channel axes first in PyTorch; a transposed one takes inputs first."""
    *kernel, one, other = shape
    source = np.arange(np.prod(shape)).reshape(shape)

    converted = LAYOUTS[name].apply(source)

    assert converted.shape == (other, one, *kernel)
    assert np.array_equal(converted[2, 1], source[..., 1, 2])


def test_source_shape_is_told_by_the_target_where_no_axes_were_joined() -> None:
    """A depthwise kernel is taken to have the channel multiplier 1; every other layout is exact."""
    assert LAYOUTS["conv2d"].source_shape((5, 4, 2, 3)) == (2, 3, 4, 5)
    assert LAYOUTS["depthwise"].source_shape((20, 1, 2, 3)) == (2, 3, 20, 1)
    assert LAYOUTS["identity"].source_shape((7,)) == (7,)
    with pytest.raises(ValueError, match="layout dense makes 2 axes, not"):
        DENSE.source_shape((3,))
