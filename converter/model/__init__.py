"""The networks: records in `config`, and the PyTorch model in `efficientnet`.

`converter.model.config` loads without torch, so this package imports the model only when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from .config import CONFIGS, EFFICIENTNET_V1, EFFICIENTNET_V2, BlockConfig, EfficientNetConfig, StageConfig

if TYPE_CHECKING:
    from .efficientnet import EfficientNet

__all__ = [
    "CONFIGS",
    "EFFICIENTNET_V1",
    "EFFICIENTNET_V2",
    "BlockConfig",
    "EfficientNet",
    "EfficientNetConfig",
    "StageConfig",
]


def __getattr__(name: str) -> Any:
    """Import the PyTorch model on first use."""
    if name == "EfficientNet":
        from .efficientnet import EfficientNet

        return EfficientNet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
