"""The networks: configs in `config`, and the PyTorch module in `efficientnet`.

`converter.model.config` does not need torch, so this package imports the module only on first use.
"""

from typing import TYPE_CHECKING, Any

from .architectures import CONFIGS, EFFICIENTNET_EDGETPU, EFFICIENTNET_LITE, EFFICIENTNET_V1, EFFICIENTNET_V2
from .config import BlockConfig, EfficientNetConfig, StageConfig

if TYPE_CHECKING:
    from .efficientnet import EfficientNet

__all__ = [
    "CONFIGS",
    "EFFICIENTNET_EDGETPU",
    "EFFICIENTNET_LITE",
    "EFFICIENTNET_V1",
    "EFFICIENTNET_V2",
    "BlockConfig",
    "EfficientNet",
    "EfficientNetConfig",
    "StageConfig",
]


def __getattr__(name: str) -> Any:
    """Import the PyTorch module on first use."""
    if name == "EfficientNet":
        from .efficientnet import EfficientNet

        return EfficientNet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
