"""A network prepared for inference: batch norms folded into the convolutions, weights laid out channels-last.

Needs torch; the folding itself is that of the exporters, so that there is one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .exporters.adapting import with_folded_norms
from .exporters.base import made
from .mapping.layout import Array
from .model import EfficientNet


class PointwiseConv2d(nn.Conv2d):
    """A 1×1 convolution, which of channels-last images is a dense layer over the channels of every pixel.

    A processor's dense layer takes the weights as they lie; its convolution lays them out anew at every call, which
    at one image takes a good part of the time.
    They lie as inputs × outputs, in the order in which the product of few pixels with many channels reads them.
    """

    @classmethod
    def of(cls, conv: nn.Conv2d) -> PointwiseConv2d:
        """Make the same convolution in this class: the bias is shared, the weights are laid out."""
        made = cls(conv.in_channels, conv.out_channels, 1, bias=conv.bias is not None, device="meta")
        columns = conv.weight.detach().flatten(1).t().contiguous()  # (I, O)
        made.weight = nn.Parameter(columns.t()[:, :, None, None], requires_grad=False)  # (O, I, 1, 1), a view
        made.bias = conv.bias
        return made

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the base class's name)
        """Convolve, in whichever memory format the images come."""
        if not input.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        y = F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)  # (N, H, W, O)
        return y.permute(0, 3, 1, 2)


def optimize(model: EfficientNet) -> EfficientNet:
    """Give a copy that is quicker at inference and gives the same logits, to float32's rounding.

    Every batch norm becomes part of the convolution before it, computed in float64, k×k kernels are stored
    channels-last (NHWC), as processors and GPUs convolve fastest, and 1×1 convolutions run as dense layers.
    Images still come in as NCHW, in any memory format, and the names of the weights stay.
    The copy is in eval mode, without gradients, on the model's device and in its dtype, and cannot be trained further:
    its statistics are gone. The model itself is not touched; a network whose norms are folded is only laid out anew.
    """
    stored = model.state_dict()
    config = model.config
    if not config.folded_bn:
        arrays = {name: _array(tensor) for name, tensor in stored.items()}
        folded, config, _ = with_folded_norms(arrays, config)
        stored = {name: _like(made(tensor), stored, name) for name, tensor in folded.items()}
    with torch.device("meta"):  # nothing is drawn for weights that are replaced
        network = EfficientNet(config)
    network.load_state_dict({name: tensor.detach().clone() for name, tensor in stored.items()}, assign=True)
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Conv2d and child.kernel_size == (1, 1):
                setattr(parent, name, PointwiseConv2d.of(child).eval())
    return network


def _array(tensor: Tensor) -> Array:
    """Copy to where NumPy reads it; dtypes below float32 are widened, since NumPy lacks some."""
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()
    array: Array = tensor.numpy()
    return array


def _like(array: Array, stored: dict[str, Tensor], name: str) -> Tensor:
    """Put a folded array where the convolution's kernel was, in its dtype."""
    kernel = stored.get(name, stored.get(name.removesuffix("bias") + "weight"))
    assert kernel is not None, "a folded bias stands beside its kernel"
    return torch.from_numpy(array).to(kernel.device, kernel.dtype)
