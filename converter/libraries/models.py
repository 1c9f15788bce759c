"""The models of the same networks in other libraries, and the differences from TensorFlow.

Checked with timm 1.0.31, torchvision 0.28.0, transformers 5.23.0 and efficientnet-pytorch 0.7.1.

::

    library                batch norm epsilon              padding of stride-2 convolutions
    timm (`tf_` models)    1e-3                            SAME, like TensorFlow
    torchvision            1e-3; efficientnet_b0..b4 1e-5  symmetric: SAME at inputs of 32k + 1 pixels only
    transformers           from its config                 SAME for even or for odd maps, per block in its config
    efficientnet-pytorch   1e-3                            SAME, for one input size unless image_size=None
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from ..model.architectures import CONFIGS, EFFICIENTNET_V1

TargetName: TypeAlias = Literal["native", "timm", "torchvision", "transformers", "efficientnet-pytorch"]

#: Our own module, and the libraries that have some of the networks.
TARGETS: tuple[TargetName, ...] = ("native", "timm", "torchvision", "transformers", "efficientnet-pytorch")

_TORCHVISION = {
    **{f"efficientnetv2-{size}": f"efficientnet_v2_{size}" for size in "sml"},
    **{f"efficientnet-b{number}": f"efficientnet_b{number}" for number in range(8)},
}
#: Models in which torchvision uses PyTorch's default epsilon, 1e-5.
TORCHVISION_OTHER_EPSILON = frozenset(f"efficientnet-b{number}" for number in range(5))


def find_library_model(target: TargetName, architecture: str) -> str | None:
    """Return the library's name for a published network, or None if it does not have the network."""
    if architecture not in CONFIGS:
        return None
    if target == "native":
        return architecture
    if target == "timm":
        # timm calls EdgeTPU-S `es`.
        return "tf_" + architecture.replace("-edgetpu-", "-e").lower().replace("-", "_")
    if target == "torchvision":
        return _TORCHVISION.get(architecture)
    if architecture not in EFFICIENTNET_V1:
        return None
    return "EfficientNetForImageClassification" if target == "transformers" else architecture


def list_targets(architecture: str) -> tuple[TargetName, ...]:
    """Return the targets that have a network; only our own module has custom networks."""
    return tuple(target for target in TARGETS if target == "native" or find_library_model(target, architecture))
