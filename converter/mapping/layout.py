"""Named, reversible layouts: how to turn the axes of a TensorFlow tensor into those of a PyTorch tensor.

::

    layout     source  target  for
    conv2d     HWIO    OIHW    convolution kernels
    depthwise  HWIM    C1HW    depthwise kernels; C = I·M, and channel i·M + m is multiplier m of input i
    dense      IO      OI      dense kernels
    identity   any     same    everything else
    conv1d     WIO     OIW     kernels of convolutions over one axis
    conv3d     DHWIO   OIDHW   kernels of convolutions over three axes
    conv2d_transpose  HWOI  IOHW  kernels of transposed convolutions

D, H and W are depth, height and width of the kernel, I input channels, O output channels, M the channel multiplier.
Each rule names its layout, because neither the rank nor the end of the name distinguishes a depthwise kernel from a
convolution.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .._typing import Array
from ..errors import Shape


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """A permutation of axes; `merged` also merges the first two target axes and puts an axis of size 1 after them.

    `axes` names the source's axes in messages; it is empty for the identity, which accepts any rank.
    """

    name: str
    axes: str = ""
    permutation: tuple[int, ...] = ()
    merged: bool = False

    def target_shape(self, shape: Shape) -> Shape:
        """Return the target shape for a source of `shape`; raise `ValueError` if the rank does not match."""
        self._check_rank(shape)
        permuted = tuple(shape[axis] for axis in self.permutation) if self.permutation else tuple(shape)
        return _merge(permuted) if self.merged else permuted

    def apply(self, array: Array) -> Array:
        """Return the target array as a view of the source array."""
        self._check_rank(array.shape)
        permuted = array.transpose(self.permutation) if self.permutation else array
        # I and M are adjacent in memory, so merging them does not copy a contiguous source.
        return permuted.reshape(_merge(permuted.shape)) if self.merged else permuted

    def invert(self, array: Array, source_shape: Shape) -> Array:
        """Return the source array of a target array; raise `ValueError` if `source_shape` does not become its shape."""
        if array.shape != self.target_shape(source_shape):
            raise ValueError(
                f"layout {self.name} turns {list(source_shape)} into {list(self.target_shape(source_shape))}, "
                f"not {list(array.shape)}"
            )
        if self.merged:
            array = array.reshape(tuple(source_shape[axis] for axis in self.permutation))
        return array.transpose(np.argsort(self.permutation).tolist()) if self.permutation else array

    def source_shape(self, shape: Shape) -> Shape:
        """Return the source shape for a target of `shape`; raise `ValueError` if the rank does not match.

        If axes were merged, the channel multiplier is assumed to be 1, as it nearly always is.
        """
        axes = len(self.permutation)
        if self.permutation and len(shape) != axes:
            raise ValueError(f"layout {self.name} has {axes} target axes, not {list(shape)}")
        if not self.permutation:
            return tuple(shape)
        source = [0] * axes
        for size, axis in zip(shape, self.permutation, strict=True):
            source[axis] = size
        return tuple(source)

    def _check_rank(self, shape: Shape) -> None:
        if self.permutation and len(shape) != len(self.permutation):
            raise ValueError(
                f"layout {self.name} needs the {len(self.permutation)} axes {self.axes}, not {list(shape)}"
            )


def _merge(shape: Shape) -> Shape:
    """Return the shape after (I, M, H, W) became (I·M, 1, H, W)."""
    return (shape[0] * shape[1], 1, *shape[2:])


IDENTITY = Layout("identity")
CONV2D = Layout("conv2d", "HWIO", (3, 2, 0, 1))
DEPTHWISE = Layout("depthwise", "HWIM", (2, 3, 0, 1), merged=True)
DENSE = Layout("dense", "IO", (1, 0))
CONV1D = Layout("conv1d", "WIO", (2, 1, 0))
CONV3D = Layout("conv3d", "DHWIO", (4, 3, 0, 1, 2))
CONV2D_TRANSPOSE = Layout("conv2d_transpose", "HWOI", (3, 2, 0, 1))

LAYOUTS: dict[str, Layout] = {
    layout.name: layout for layout in (IDENTITY, CONV2D, DEPTHWISE, DENSE, CONV1D, CONV3D, CONV2D_TRANSPOSE)
}
