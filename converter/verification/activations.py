"""Comparison of a network's values with those that TensorFlow recorded: logits and endpoints for the same input.

A golden file is an `.npz` with `input` (NHWC), `logits` and any number of `endpoint:NAME` (NHWC, or NC after pooling),
the values that TensorFlow computed for this input; `logits64` are its logits in float64.

A difference is relative to the largest reference value of its layer, max|Δ| / max|reference|, because the relative
error of a single value near zero has no meaning.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfckpt.errors import CorruptionError, printable

from .._typing import Array, PathLike
from ..errors import ConversionError, Shape
from ..formats import npz
from .comparison import ComparisonReport, finite_or_none, largest_of, measure

if TYPE_CHECKING:
    from ..model.efficientnet import EfficientNet

#: For float32 on either side; TensorFlow's float32 differs from its float64 by up to 4e-6 of the largest value.
FLOAT32_TOLERANCE = 1e-5

#: For float64 on both sides; correct conversions differ by 1e-14, a wrong padding or epsilon by at least 1e-6.
FLOAT64_TOLERANCE = 1e-10

INPUT = "input"
LOGITS = "logits"
LOGITS64 = "logits64"
ENDPOINT = "endpoint:"


@dataclasses.dataclass(frozen=True, slots=True)
class LayerRecord:
    """The comparison of one layer, in TensorFlow's axes.

    `max_abs` is max|Δ| and `max_rel` is max|Δ| / max|reference|; both are infinite if the shapes differ, and NaN if a
    value is NaN. `tolerance` is the largest `max_rel` that agrees.
    """

    name: str
    shape: Shape
    reference_shape: Shape
    max_abs: float
    max_rel: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance, which NaN never is."""
        return self.max_rel <= self.tolerance

    def __str__(self) -> str:
        """Return one line for people."""
        text = f"{printable(self.name)} {list(self.shape)}"
        if self.shape != self.reference_shape:
            return f"{text}: TensorFlow's is {list(self.reference_shape)}"
        return f"{text}: max|Δ| {self.max_abs:.2g}, of the largest value {self.max_rel:.2g}, allowed {self.tolerance:g}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ActivationsReport(ComparisonReport):
    """A comparison with recorded values: `records` in network order, and the arrays not compared with the reason.

    `dtype` is the dtype in which our network ran.
    """

    dtype: str
    records: tuple[LayerRecord, ...]
    not_compared: tuple[tuple[str, str], ...]

    @property
    def max_abs(self) -> float:
        """The largest absolute difference of any layer."""
        return largest_of(record.max_abs for record in self.records)

    @property
    def max_rel(self) -> float:
        """The largest difference of any layer relative to that layer's largest value."""
        return largest_of(record.max_rel for record in self.records)

    def findings(self) -> list[str]:
        """Return every layer that differs, one a line, in network order."""
        return [str(record) for record in self.records if not record.agrees]

    def summary(self) -> str:
        """Return the result in a few lines."""
        agree = sum(record.agrees for record in self.records)
        lines = [
            f"endpoints {agree} of {len(self.records)} agree with TensorFlow's ({self.dtype}):",
            f"          largest difference {self.max_abs:.1e}, of the layer's largest value {self.max_rel:.1e}",
        ]
        lines += [f"not compared: {printable(name)}, {reason}" for name, reason in self.not_compared]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON; infinite values and NaN are None."""
        return {
            "dtype": self.dtype,
            "max_abs": finite_or_none(self.max_abs),
            "max_rel": finite_or_none(self.max_rel),
            "layers": [
                {
                    **dataclasses.asdict(record),
                    "shape": list(record.shape),
                    "reference_shape": list(record.reference_shape),
                    "max_abs": finite_or_none(record.max_abs),
                    "max_rel": finite_or_none(record.max_rel),
                    "agrees": record.agrees,
                }
                for record in self.records
            ],
            "not_compared": [{"name": name, "reason": reason} for name, reason in self.not_compared],
        }

    def headline(self) -> str:
        """Return how many layers differ."""
        return f"the layers do not agree with TensorFlow's: {len(self.findings())} of them"


def compare(
    model: EfficientNet, golden: Mapping[str, Array], *, double: bool = False, tolerance: float = FLOAT32_TOLERANCE
) -> ActivationsReport:
    """Run the model on the golden input, and compare its logits and endpoints with TensorFlow's.

    With `double` a copy of the model runs in float64, and the tolerance of `logits64` is `FLOAT64_TOLERANCE`; that of
    all other references is `tolerance`. The model itself does not change.
    Raises `ConversionError` if the golden values are not for such a network.
    """
    import torch

    names = _map_references(golden)
    images = _check_input(golden, model.config.in_channels)
    if double or model.training:
        model = copy.deepcopy(model).eval()
    if double:
        model = model.double()
    like = model.stem.conv.weight
    inputs = torch.from_numpy(np.array(images, np.float64)).to(like.device, like.dtype).permute(0, 3, 1, 2)
    with torch.inference_mode():
        points = {
            name: _to_channels_last(tensor.cpu().double().numpy()) for name, tensor in model.endpoints(inputs).items()
        }
    unknown = [printable(name) for name in names.values() if name not in points and name != LOGITS]
    if unknown:
        raise ConversionError(f"the network has no endpoint {', '.join(unknown)}; it has {', '.join(points)}")
    not_compared = [(key, "neither logits nor an endpoint") for key in golden if key not in names and key != INPUT]
    not_compared += [(key, "the model returns pooled features") for key, name in names.items() if name not in points]
    if len(not_compared) == len(golden) - 1:
        raise ConversionError(f"nothing to compare: {'; '.join(f'{key}, {reason}' for key, reason in not_compared)}")
    records = []
    for point, values in points.items():
        for key in (key for key, name in names.items() if name == point):
            allowed = FLOAT64_TOLERANCE if double and key == LOGITS64 else tolerance
            max_abs, max_rel, _ = measure(values, golden[key])
            name = key.removeprefix(ENDPOINT)
            records.append(LayerRecord(name, values.shape, golden[key].shape, max_abs, max_rel, allowed))
    return ActivationsReport(
        dtype=str(like.dtype).removeprefix("torch."), records=tuple(records), not_compared=tuple(not_compared)
    )


def load_golden(path: PathLike) -> dict[str, Array]:
    """Read the real numbers of a golden `.npz`; the arrays are read-only.

    Raises `CheckpointNotFoundError`, or `CorruptionError` if the file is not such an archive.
    """
    arrays = npz.read(path).tensors
    for name, array in arrays.items():
        if array.dtype.kind == "c":
            raise CorruptionError(
                f"array of dtype {array.dtype}, expected real numbers", path=os.fspath(path), tensor=name
            )
    return arrays


def _map_references(golden: Mapping[str, Array]) -> dict[str, str]:
    """Return the endpoint of each reference value, by its key in the golden values."""
    names = {key: key.removeprefix(ENDPOINT) for key in golden if key.startswith(ENDPOINT)}
    names.update((key, LOGITS) for key in (LOGITS, LOGITS64) if key in golden)
    if not names or INPUT not in golden:
        present = ", ".join(map(printable, golden)) or "no arrays"
        raise ConversionError(
            f"golden values have {present}; expected {INPUT} (NHWC) and at least one of {LOGITS} and {ENDPOINT}NAME"
        )
    return names


def _check_input(golden: Mapping[str, Array], channels: int) -> Array:
    """Return the golden input; raise `ConversionError` if it is not a batch of images."""
    images = golden[INPUT]
    if images.ndim != 4 or images.shape[3] != channels or 0 in images.shape:
        raise ConversionError(f"golden {INPUT} is {list(images.shape)}, expected [N, H, W, {channels}]")
    return images


def _to_channels_last(values: Array) -> Array:
    """Return values in TensorFlow's axes, NHWC instead of NCHW."""
    return values.transpose(0, 2, 3, 1) if values.ndim == 4 else values
