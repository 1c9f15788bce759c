"""The numbers of parameters and bytes of a network and of each published variant of its version."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..model.architectures import EFFICIENTNET_EDGETPU, EFFICIENTNET_LITE, EFFICIENTNET_V1, EFFICIENTNET_V2
from ..model.config import EfficientNetConfig
from ..model.names import native_targets
from ..model.published import PUBLISHED, Published


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A network: its parameters and the bytes of its tensors, which are in float32 unless it is the converted one.

    `published` are the figures of the papers, or None.
    `converted` marks the network of the report, which has its own number of classes.
    """

    name: str
    classes: int
    parameters: int
    nbytes: int
    published: Published | None
    converted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        millions, billions, top1 = self.published or (None, None, None)
        return {
            "name": self.name,
            "classes": self.classes,
            "parameters": self.parameters,
            "bytes": self.nbytes,
            "published": {
                "million_parameters": millions,
                "billion_multiply_adds": billions,
                "top1_percent": top1,
            },
            "converted": self.converted,
        }


def list_variants(config: EfficientNetConfig, nbytes: int) -> tuple[Variant, ...]:
    """Return the variants of a network's version by size, with the network itself, whose tensors have `nbytes`.

    A network that was not published counts as version 2 if it has fused blocks, else as version 1.
    """
    fused = any(stage.block == "fused" for stage in config.stages)
    tables = (EFFICIENTNET_V2, EFFICIENTNET_V1, EFFICIENTNET_LITE, EFFICIENTNET_EDGETPU)
    own = [table for table in tables if config.name in table]
    configs = own[0] if own else EFFICIENTNET_V2 if fused else EFFICIENTNET_V1
    variants = [_variant(other, count_float32_bytes(other)) for name, other in configs.items() if name != config.name]
    variants.append(dataclasses.replace(_variant(config, nbytes), converted=True))
    return tuple(sorted(variants, key=lambda variant: (variant.parameters, variant.name)))


def count_float32_bytes(config: EfficientNetConfig) -> int:
    """Return the bytes of a network's tensors as we write them: float32, and batch counters in int64."""
    return sum(
        math.prod(shape) * (8 if name.endswith(".num_batches_tracked") else 4)
        for name, shape in native_targets(config).items()
    )


def _variant(config: EfficientNetConfig, nbytes: int) -> Variant:
    return Variant(
        name=config.name,
        classes=config.num_classes,
        parameters=config.parameter_count(),
        nbytes=nbytes,
        published=PUBLISHED.get(config.name),
    )
