"""What a comparison of layers came to: a record for each, the first at fault, and causes."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfckpt.errors import pluralize, printable

from ..errors import Shape
from .comparison import ComparisonReport, finite_or_none, largest_of

#: Above this a network is ill-conditioned: its float32 result has few right digits in either framework.
ILL_CONDITIONED = 1e-4
#: For one layer alone in float64, where a right one was measured at 1e-15.
ALONE_TOLERANCE = 1e-10
HEADINGS = ("layer", "shape", "max|Δ|", "relative", "allowed", "alone", "cosine", "")


@dataclasses.dataclass(frozen=True, slots=True)
class LayerRecord:
    """One layer compared.

    `max_abs`, `max_rel` and `cosine` are of the whole run; `alone` is the layer's own difference on the oracle's input.
    `noise` is the oracle's, float32 against float64.
    All are infinite where shapes differ, and not a number where a value is none.
    """

    layer: str
    tensor: str
    shape: Shape
    reference_shape: Shape
    max_abs: float
    max_rel: float
    cosine: float
    alone: float
    noise: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the layer is within tolerance both ways; what is not a number never is."""
        return self.max_rel <= self.tolerance and not self.is_faulty

    @property
    def is_faulty(self) -> bool:
        """Whether the difference is the layer's own."""
        return not self.alone <= ALONE_TOLERANCE

    def __str__(self) -> str:
        """One line for people."""
        text = f"{printable(self.layer)} {list(self.shape)}"
        if self.shape != self.reference_shape:
            return f"{text}: the graph's is {list(self.reference_shape)}"
        return (
            f"{text}: max|Δ| {self.max_abs:.2g}, of the largest value {self.max_rel:.2g}, "
            f"allowed {self.tolerance:.2g}; alone {self.alone:.2g}, cosine {self.cosine:.9g}"
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayersReport(ComparisonReport):
    """A whole comparison, in network order.

    `dtype` is what our network computed in, `graph` where the oracle's graph stands, and `probe` what was fed.
    `causes` are faults of structure, as pairs of a layer and a sentence; see `diagnosis`.
    """

    dtype: str
    graph: str
    probe: str
    records: tuple[LayerRecord, ...]
    causes: tuple[tuple[str, str], ...] = ()

    @property
    def noise(self) -> float:
        """The largest noise of a layer."""
        return max(record.noise for record in self.records)

    @property
    def ill_conditioned(self) -> bool:
        """Whether float32 can show little of this network, in any framework."""
        return not self.noise <= ILL_CONDITIONED

    @property
    def first(self) -> LayerRecord | None:
        """The first layer whose difference is its own, or else the first beyond tolerance."""
        faulty = (record for record in self.records if record.is_faulty)
        return next(faulty, None) or next((record for record in self.records if not record.agrees), None)

    def findings(self) -> list[str]:
        """Each layer with a difference of its own, with the cause if it is known; without such, each that differs."""
        faulty = [record for record in self.records if record.is_faulty]
        carried = [record for record in self.records if not record.agrees and not record.is_faulty]
        causes = dict(self.causes)
        lines = []
        for record in faulty or carried:
            lines.append(str(record))
            if record.layer in causes:
                lines.append(f"  cause: {causes[record.layer]}")
        if faulty and carried:
            lines.append(
                f"{pluralize(len(carried), 'other layer')} carry the difference on, {printable(carried[0].layer)} first"
            )
        return lines

    def summary(self) -> str:
        """Say it in a few lines."""
        agree = sum(record.agrees for record in self.records)
        worst = largest_of(record.max_rel for record in self.records)
        alone = largest_of(record.alone for record in self.records)
        least = min(record.cosine for record in self.records)
        lines = [
            f"oracle    the graph {printable(self.graph)}, {self.probe}",
            f"layers    {agree} of {len(self.records)} agree with the oracle's ({self.dtype}): largest difference "
            f"{worst:.1e} of a layer's largest value,",
            f"          alone in float64 {alone:.1e}, least cosine {least:.9f}; "
            f"the oracle's own float32 noise {self.noise:.1e}",
        ]
        if self.ill_conditioned:
            lines.append("          the network is ill-conditioned: float32 shows little of it, judged in float64")
        return "\n".join(lines)

    def rows(self) -> list[tuple[str, ...]]:
        """Each layer as text: name, shape, max|Δ|, relative, allowed, alone, cosine, verdict."""
        return [
            (
                printable(record.layer),
                "×".join(map(str, record.shape)),
                f"{record.max_abs:.1e}",
                f"{record.max_rel:.1e}",
                f"{record.tolerance:.1e}",
                f"{record.alone:.1e}",
                f"{record.cosine:.9f}",
                "ok" if record.agrees else "FAULTY" if record.is_faulty else "differs",
            )
            for record in self.records
        ]

    def table(self) -> str:
        """The layers as columns of text."""
        rows = [HEADINGS, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if number in (0, 1, len(widths) - 1) else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; what is infinite or not a number is None."""
        first = self.first
        causes = dict(self.causes)
        return {
            "ok": self.ok,
            "dtype": self.dtype,
            "graph": self.graph,
            "probe": self.probe,
            "noise": finite_or_none(self.noise),
            "ill_conditioned": self.ill_conditioned,
            "alone_tolerance": ALONE_TOLERANCE,
            "first_beyond_tolerance": None if first is None else first.layer,
            "layers": [
                {
                    "layer": record.layer,
                    "tensor": record.tensor,
                    "shape": list(record.shape),
                    "reference_shape": list(record.reference_shape),
                    **{
                        name: finite_or_none(getattr(record, name))
                        for name in ("max_abs", "max_rel", "cosine", "alone", "noise", "tolerance")
                    },
                    "agrees": record.agrees,
                    "cause": causes.get(record.layer),
                }
                for record in self.records
            ],
        }

    def headline(self) -> str:
        """Return how many layers differ, and the first at fault."""
        count = sum(not record.agrees for record in self.records)
        first = "" if self.first is None else f", the first at fault {self.first.layer}"
        return f"the layers do not agree with the oracle's: {count} of {len(self.records)}{first}"
