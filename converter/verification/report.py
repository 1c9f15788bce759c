"""A whole proof: what was compared, what agrees, and what is not proved."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..errors import VerificationError
from .activations import ActivationsReport
from .layers_report import LayersReport
from .weights import WeightsReport


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the comparison of an output with its source came to.

    `layers` are compared with the graph beside the checkpoint, `golden` with values TensorFlow recorded; None for not.
    `not_proved` says in sentences what was not looked at, and why.
    """

    source: str
    output: str
    weights: WeightsReport
    layers: LayersReport | None = None
    golden: ActivationsReport | None = None
    not_proved: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything that was compared agrees."""
        return self.weights.ok and all(part is None or part.ok for part in (self.layers, self.golden))

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "ok": self.ok,
            "source": self.source,
            "output": self.output,
            "weights": self.weights.to_dict(),
            "layers": None if self.layers is None else self.layers.to_dict(),
            "golden": None if self.golden is None else self.golden.to_dict(),
            "not_proved": list(self.not_proved),
        }

    def require(self) -> None:
        """Raise `VerificationError` with every finding of every part, when there is one."""
        messages = []
        for part in (self.weights, self.layers, self.golden):
            try:
                if part is not None:
                    part.require()
            except VerificationError as error:
                messages.append(error.message)
        if messages:
            raise VerificationError("\n".join(messages), report=self)
