"""A proof: all comparisons of an output with its source, and what is not proved."""

from __future__ import annotations

import dataclasses
from typing import Any

from .activations import ActivationsReport
from .comparison import ComparisonReport
from .layers_report import LayersReport
from .modules import ModuleReport
from .weights import WeightsReport


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proof(ComparisonReport):
    """The result of all comparisons of an output with its source.

    `layers` is the comparison with the graph saved with the checkpoint, of all layers or of the outputs only, `golden`
    that with values that TensorFlow recorded; they are None if not compared.
    `not_proved` has sentences about what was not compared, and why.
    """

    source: str
    output: str
    weights: WeightsReport
    layers: LayersReport | ModuleReport | None = None
    golden: ActivationsReport | None = None
    not_proved: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[tuple[str, ComparisonReport], ...]:
        """All comparisons with their titles."""
        title = "Outputs" if isinstance(self.layers, ModuleReport) else "Layers"
        parts = (("Weights", self.weights), (title, self.layers), ("Values recorded by TensorFlow", self.golden))
        return tuple((title, part) for title, part in parts if part is not None)

    def summary(self) -> str:
        """Return the summaries of all parts."""
        return "\n".join(part.summary() for _, part in self.parts)

    def findings(self) -> list[str]:
        """Return the findings of all parts."""
        return [finding for _, part in self.parts for finding in part.findings()]

    def headline(self) -> str:
        """Return the headlines of the parts that differ."""
        return "; ".join(part.headline() for _, part in self.parts if not part.ok)

    def message(self) -> str:
        """Return each headline with the findings of its part."""
        return "\n".join(part.message() for _, part in self.parts if not part.ok)

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {
            "ok": self.ok,
            "source": self.source,
            "output": self.output,
            "weights": self.weights.to_dict(),
            "layers": None if self.layers is None else self.layers.to_dict(),
            "golden": None if self.golden is None else self.golden.to_dict(),
            "not_proved": list(self.not_proved),
        }
