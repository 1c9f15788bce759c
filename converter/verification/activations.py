"""The network's values beside TensorFlow's: logits and every endpoint, layer by layer, on TensorFlow's own input.

A golden file is an `.npz` with `input` (NHWC), `logits` and any number of `endpoint:NAME` (NHWC, or NC after pooling),
the values TensorFlow gave for that input; `logits64` are the logits of the same network run in float64.

A difference is measured against the largest reference value of its layer, max|Δ| / max|reference|: single values near
zero have no meaningful relative error.
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

#: For float32 on either side: TensorFlow's own lies up to 4e-6 of the largest value from its float64 result.
FLOAT32_TOLERANCE = 1e-5

#: For float64 on both sides: right conversions were measured at 1e-14, a wrong padding or epsilon at 1e-6 and more.
FLOAT64_TOLERANCE = 1e-10

INPUT = "input"
LOGITS = "logits"
LOGITS64 = "logits64"
ENDPOINT = "endpoint:"


@dataclasses.dataclass(frozen=True, slots=True)
class LayerRecord:
    """One layer compared, in TensorFlow's axes.

    `max_abs` is max|Δ| and `max_rel` is max|Δ| / max|reference|; both are infinite when the shapes differ, and not
    a number when a value is none. `tolerance` is the largest `max_rel` that agrees.
    """

    name: str
    shape: Shape
    reference_shape: Shape
    max_abs: float
    max_rel: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the layer is within its tolerance; what is not a number never is."""
        return self.max_rel <= self.tolerance

    def __str__(self) -> str:
        """One line for people."""
        text = f"{printable(self.name)} {list(self.shape)}"
        if self.shape != self.reference_shape:
            return f"{text}: TensorFlow's is {list(self.reference_shape)}"
        return f"{text}: max|Δ| {self.max_abs:.2g}, of the largest value {self.max_rel:.2g}, allowed {self.tolerance:g}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ActivationsReport(ComparisonReport):
    """A whole comparison: `records` in network order, and what was left out with the reason.

    `dtype` is what our network computed in.
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
        """List every layer that differs, one line each, the first one computed first."""
        return [str(record) for record in self.records if not record.agrees]

    def summary(self) -> str:
        """Say it in a few lines."""
        agree = sum(record.agrees for record in self.records)
        lines = [
            f"endpoints {agree} of {len(self.records)} agree with TensorFlow's ({self.dtype}): largest difference "
            f"{self.max_abs:.2g}, relative to its layer's largest value {self.max_rel:.2g}"
        ]
        lines += [f"not compared: {printable(name)}, {reason}" for name, reason in self.not_compared]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold; what is infinite or not a number is None."""
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
    """Run the model on the golden input and compare logits and endpoints with TensorFlow's.

    With `double` a copy of the model runs in float64. `logits64` is then held to `FLOAT64_TOLERANCE`, all other
    references to `tolerance`. The model itself is left as it is; a copy runs where it would have to change.
    Raises `ConversionError` when the golden values are not for such a network.
    """
    import torch

    names = _reference_names(golden)
    images = _images(golden, model.config.in_channels)
    if double or model.training:
        model = copy.deepcopy(model).eval()
    if double:
        model = model.double()
    like = model.stem.conv.weight
    inputs = torch.from_numpy(np.array(images, np.float64)).to(like.device, like.dtype).permute(0, 3, 1, 2)
    with torch.inference_mode():
        points = {
            name: _channels_last(tensor.double().cpu().numpy()) for name, tensor in model.endpoints(inputs).items()
        }
    unknown = [printable(name) for name in names.values() if name not in points and name != LOGITS]
    if unknown:
        raise ConversionError(f"no endpoint {', '.join(unknown)} in this network; it has {', '.join(points)}")
    not_compared = [(key, "neither logits nor an endpoint") for key in golden if key not in names and key != INPUT]
    not_compared += [(key, "the model gives pooled features") for key, name in names.items() if name not in points]
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


def _reference_names(golden: Mapping[str, Array]) -> dict[str, str]:
    """Map the keys of reference values to the points of the network they belong to."""
    names = {key: key.removeprefix(ENDPOINT) for key in golden if key.startswith(ENDPOINT)}
    names.update((key, LOGITS) for key in (LOGITS, LOGITS64) if key in golden)
    if not names or INPUT not in golden:
        found = ", ".join(map(printable, golden)) or "nothing"
        raise ConversionError(
            f"golden values have {found}; expected {INPUT} (NHWC) and {LOGITS} or {ENDPOINT}NAME, or both"
        )
    return names


def _images(golden: Mapping[str, Array], channels: int) -> Array:
    """Give the golden input after checking its axes."""
    images = golden[INPUT]
    if images.ndim != 4 or images.shape[3] != channels or 0 in images.shape:
        raise ConversionError(f"golden {INPUT} is {list(images.shape)}, expected [N, H, W, {channels}]")
    return images


def _channels_last(values: Array) -> Array:
    """Give values in TensorFlow's axes: NCHW becomes NHWC."""
    return values.transpose(0, 2, 3, 1) if values.ndim == 4 else values
