"""The result of a comparison of layers: a record for each layer, the first faulty one, and causes."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfckpt.errors import pluralize, printable

from ..errors import Shape
from .comparison import ComparisonReport, finite_or_none, largest_of

#: With more noise a network is ill-conditioned: its float32 result has few correct digits in any framework.
ILL_CONDITIONED = 1e-4
#: For one layer alone in float64; the difference of a correct layer is about 1e-15.
ALONE_TOLERANCE = 1e-10
#: What is said about a graph of training.
MOVING_STATISTICS = "of training; its batch norms use their moving statistics, as the network in use does"
HEADINGS = ("layer", "shape", "max|Δ|", "relative", "allowed", "alone", "cosine", "")
#: The columns of a table of text; a report has all.
_SHOWN = (0, 1, 3, 4, 5, 7)


@dataclasses.dataclass(frozen=True, slots=True)
class LayerRecord:
    """The comparison of one layer.

    `max_abs`, `max_rel` and `cosine` come from the whole run; `alone` is the layer's own difference on the oracle's
    input. `noise` is the difference of the oracle's float32 from its float64.
    All are infinite if the shapes differ, and NaN if a value is NaN.
    `shape` is empty if the layer was not computed in the whole run, because sizes in it or before it do not fit
    together.
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
        """Whether the layer is within both tolerances, which NaN never is."""
        return self.max_rel <= self.tolerance and not self.is_faulty

    @property
    def is_faulty(self) -> bool:
        """Whether the layer itself causes a difference."""
        return not self.alone <= ALONE_TOLERANCE

    def __str__(self) -> str:
        """Return one line for people."""
        text = f"{printable(self.layer)} {list(self.shape)}"
        if not self.shape and self.reference_shape:
            return f"{printable(self.layer)}: not computed, because sizes in it or before it do not fit together"
        if self.shape != self.reference_shape:
            return f"{text}: the graph's is {list(self.reference_shape)}"
        return (
            f"{text}: max|Δ| {self.max_abs:.2g}, of the largest value {self.max_rel:.2g}, "
            f"allowed {self.tolerance:.2g}; alone {self.alone:.2g}, cosine {self.cosine:.9g}"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class OutputRecord:
    """A final output of the graph and the function of our last layer that comes closest to it.

    `difference` is relative to the largest value of the output, in float64.
    """

    tensor: str
    function: str
    difference: float
    cause: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether the output is this function, which NaN never is."""
        return self.difference <= ALONE_TOLERANCE

    def __str__(self) -> str:
        """Return one line for people."""
        if self.agrees:
            return f"{printable(self.tensor)} is {self.function}"
        text = f"{printable(self.tensor)} differs from {self.function}: relative difference {self.difference:.2g}"
        return text if self.cause is None else f"{text}\n  cause: {self.cause}"

    def to_dict(self) -> dict[str, object]:
        """Return values for JSON."""
        return {**dataclasses.asdict(self), "difference": finite_or_none(self.difference), "agrees": self.agrees}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayersReport(ComparisonReport):
    """A comparison of all layers, in network order.

    `dtype` is the dtype in which our network ran, `graph` the path of the oracle's graph, and `probe` describes the
    input. `causes` are faults of structure, as pairs of a layer and a sentence; see `diagnosis`.
    `outputs` compares the final outputs of the graph. `size` is the side of the input in pixels.
    `moving_statistics` says that the graph is one of training, whose batch norms ran with their moving statistics.
    """

    dtype: str
    graph: str
    probe: str
    records: tuple[LayerRecord, ...]
    causes: tuple[tuple[str, str], ...] = ()
    outputs: tuple[OutputRecord, ...] = ()
    size: int | None = None
    moving_statistics: bool = False

    @property
    def noise(self) -> float:
        """The largest noise of any layer."""
        return max(record.noise for record in self.records)

    @property
    def ill_conditioned(self) -> bool:
        """Whether float32 results of this network are mostly noise, in any framework."""
        return not self.noise <= ILL_CONDITIONED

    @property
    def first(self) -> LayerRecord | None:
        """The first faulty layer, or else the first beyond its tolerance, or None."""
        faulty = (record for record in self.records if record.is_faulty)
        return next(faulty, None) or next((record for record in self.records if not record.agrees), None)

    def findings(self) -> list[str]:
        """Return the faulty layers with known causes, or all layers that differ if none is faulty."""
        faulty = [record for record in self.records if record.is_faulty]
        following = [record for record in self.records if not record.agrees and not record.is_faulty]
        causes = dict(self.causes)
        lines = []
        for record in faulty or following:
            lines.append(str(record))
            if record.layer in causes:
                lines.append(f"  cause: {causes[record.layer]}")
        if faulty and following:
            lines.append(
                f"{pluralize(len(following), 'other layer')} affected by this, first {printable(following[0].layer)}"
            )
        # Others may be a second classifier's, or scaled logits next to the logits; the account of operations says so.
        is_returned = any(output.agrees for output in self.outputs)
        return lines + [f"the graph's output {output}" for output in self.outputs if not is_returned]

    def summary(self) -> str:
        """Return the result in a few lines."""
        agree = sum(record.agrees for record in self.records)
        worst = largest_of(record.max_rel for record in self.records)
        alone = largest_of(record.alone for record in self.records)
        least = min(record.cosine for record in self.records)
        lines = [
            f"oracle    the graph {printable(self.graph)}, {self.probe}",
            f"layers    {agree} of {len(self.records)} agree with the oracle's ({self.dtype}):",
            f"          largest difference {worst:.1e} of a layer's largest value,",
            f"          alone in float64 {alone:.1e}, least cosine {least:.9f};",
            f"          the oracle's own float32 noise is {self.noise:.1e}",
        ]
        if self.moving_statistics:
            lines.insert(1, f"          {MOVING_STATISTICS}")
        lines += [f"output    {output}" for output in self.outputs]
        if self.ill_conditioned:
            lines.append("          the network is ill-conditioned: float32 is mostly noise, so float64 decides")
        return "\n".join(lines)

    def rows(self) -> list[tuple[str, ...]]:
        """Return each layer as text: name, shape, max|Δ|, relative, allowed, alone, cosine, verdict."""
        return [
            (
                printable(record.layer),
                "×".join(map(str, record.shape)) or "none",
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
        """Return the layers as a table of text, without the absolute differences and the cosines."""
        rows = [[row[column] for column in _SHOWN] for row in (HEADINGS, *self.rows())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if number in (0, 1, len(widths) - 1) else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON; infinite values and NaN are None."""
        first = self.first
        causes = dict(self.causes)
        return {
            "ok": self.ok,
            "dtype": self.dtype,
            "graph": self.graph,
            "probe": self.probe,
            "moving_statistics": self.moving_statistics,
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
            "outputs": [output.to_dict() for output in self.outputs],
        }

    def headline(self) -> str:
        """Return how many layers differ, and the first faulty one."""
        count = sum(not record.agrees for record in self.records)
        first = "" if self.first is None else f", first fault in {self.first.layer}"
        if not count:
            return "the layers agree with the oracle's, but the final output of the graph is not the network's"
        return f"the layers do not agree with the oracle's: {count} of {len(self.records)}{first}"
