"""Suppression of overlapping boxes.

The best box is taken again and again, and the scores of those that overlap it are lowered. This is written with
tensors only, so that a module exports: unrolled to the largest number of boxes.
"""

from __future__ import annotations

import math

import torch

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_int, to_number, to_tensor, to_tensors
from converter.errors import GraphError

#: The most boxes that are taken one after the other.
_MOST_BOXES = 100_000


def _overlaps(box: Tensor, boxes: Tensor) -> Tensor:
    """Return intersection over union of one box, (…, 1, 4), with others, (…, n, 4); corners may be in any order."""
    low, high = torch.minimum(boxes[..., :2], boxes[..., 2:]), torch.maximum(boxes[..., :2], boxes[..., 2:])
    low_1, high_1 = torch.minimum(box[..., :2], box[..., 2:]), torch.maximum(box[..., :2], box[..., 2:])
    area, area_1 = (high - low).prod(-1), (high_1 - low_1).prod(-1)
    sides = (torch.minimum(high, high_1) - torch.maximum(low, low_1)).clamp(min=0)
    common = sides.prod(-1)
    union = area + area_1 - common
    is_valid = (area > 0) & (area_1 > 0)
    return torch.where(is_valid, common / torch.where(is_valid, union, torch.ones_like(union)), torch.zeros_like(union))


def _select(
    boxes: Tensor, scores: Tensor, count: int, *, overlap: float, least: float, sigma: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the indices of `count` boxes and their scores, which are -inf after the last box.

    Boxes have the shape (…, n, 4), scores (…, n), and the results (…, count).
    """
    if count > _MOST_BOXES:
        raise GraphError(f"{count} boxes are over the limit of {_MOST_BOXES}")
    nothing = torch.full((), -math.inf, dtype=scores.dtype)
    left = torch.where(scores > least, scores, nothing)
    indices, kept = [], []
    for _ in range(min(count, scores.shape[-1])):
        best = left.argmax(-1, keepdim=True)
        score = left.gather(-1, best)
        if not torch.compiler.is_compiling() and not bool((score > nothing).any()):
            break
        indices.append(best)
        kept.append(score)
        box = boxes.gather(-2, best[..., None].expand(*best.shape, 4))
        similar = _overlaps(box, boxes)
        if sigma > 0:
            lowered = left * torch.exp(-0.5 / sigma * similar * similar)
            left = torch.where(lowered > least, lowered, nothing)
        else:
            left = torch.where(similar > overlap, nothing, left)
        left = left.scatter(-1, best, -math.inf)
    missing = count - len(indices)
    shape = [*scores.shape[:-1], missing]
    zeros = torch.zeros(shape, dtype=torch.int64)
    return torch.cat([*indices, zeros], -1), torch.cat([*kept, nothing.expand(shape)], -1)


def _suppress(
    call: Call,
    boxes: Value,
    scores: Value,
    size: Value,
    *,
    overlap: float,
    least: float = -math.inf,
    sigma: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Return indices, scores and whether each is a box, and the largest number of boxes."""
    corners, values = to_tensors(call.dtype, boxes, scores)
    count = to_int(size)
    indices, kept = _select(corners, values, count, overlap=overlap, least=least, sigma=sigma)
    return indices.to(torch.int32), kept, kept > -math.inf, count


@op("NonMaxSuppression", outputs=("selected_indices",))
def suppress(call: Call, boxes: Value, scores: Value, size: Value) -> Value:
    """Return the indices of boxes that do not overlap a better one by more than the attribute says."""
    indices, _, is_box, _ = _suppress(call, boxes, scores, size, overlap=float(call.get("iou_threshold", 0.5)))
    return indices[is_box]


@op("NonMaxSuppressionV2", "NonMaxSuppressionV3", outputs=("selected_indices",))
def suppress_v3(call: Call, boxes: Value, scores: Value, size: Value, *thresholds: Value) -> Value:
    """Return the same with the largest overlap as an input, and the least score."""
    overlap, *rest = map(to_number, thresholds)
    indices, _, is_box, _ = _suppress(call, boxes, scores, size, overlap=overlap, least=rest[0] if rest else -math.inf)
    return indices[is_box]


@op("NonMaxSuppressionV4", outputs=("selected_indices", "valid_outputs"))
def suppress_v4(call: Call, boxes: Value, scores: Value, size: Value, *thresholds: Value) -> tuple[Value, Value]:
    """Return the same and the number of boxes; zeros are appended if the node says so."""
    overlap, least = map(to_number, thresholds)
    indices, _, is_box, _ = _suppress(call, boxes, scores, size, overlap=overlap, least=least)
    return (indices if call.flag("pad_to_max_output_size") else indices[is_box]), is_box.sum().to(torch.int32)


@op("NonMaxSuppressionV5", outputs=("selected_indices", "selected_scores", "valid_outputs"))
def suppress_v5(call: Call, boxes: Value, scores: Value, size: Value, *numbers: Value) -> tuple[Value, Value, Value]:
    """Return the same and the scores, which are lowered for boxes that overlap a better one."""
    overlap, least, sigma = map(to_number, numbers)
    indices, kept, is_box, _ = _suppress(call, boxes, scores, size, overlap=overlap, least=least, sigma=sigma)
    count = is_box.sum().to(torch.int32)
    if call.flag("pad_to_max_output_size"):
        return indices, torch.where(is_box, kept, torch.zeros((), dtype=kept.dtype)), count
    return indices[is_box], kept[is_box], count


_COMBINED = ("nmsed_boxes", "nmsed_scores", "nmsed_classes", "valid_detections")


@op("CombinedNonMaxSuppression", outputs=_COMBINED)
def suppress_combined(call: Call, boxes: Value, scores: Value, *numbers: Value) -> tuple[Value, ...]:
    """Suppress boxes for each image and class, and return the best boxes of all classes."""
    corners, values = to_tensors(call.dtype, boxes, scores)  # (batch, n, classes or 1, 4), (batch, n, classes)
    per_class, total = map(to_int, numbers[:2])
    overlap, least = map(to_number, numbers[2:])
    batch, count, classes = values.shape
    call.check_size([batch, classes, count, 4])
    corners = corners.expand(batch, count, classes, 4).transpose(1, 2)
    indices, kept = _select(corners, values.transpose(1, 2), min(per_class, count), overlap=overlap, least=least)
    found = corners.gather(2, indices[..., None].expand(*indices.shape, 4)).reshape(batch, -1, 4)
    if call.flag("pad_per_class"):
        total = min(total, per_class * classes)
    order = kept.reshape(batch, -1).sort(dim=-1, descending=True, stable=True)
    taken = min(total, kept.shape[1] * kept.shape[2])
    best, place = order.values[:, :taken], order.indices[:, :taken]
    is_box = best > -math.inf
    zero = torch.zeros((), dtype=best.dtype)
    found = found.gather(1, place[..., None].expand(*place.shape, 4))
    found = found.clamp(0, 1) if call.flag("clip_boxes", default=True) else found
    rows = torch.where(is_box[..., None], found, zero)
    kind = torch.where(is_box, (place // kept.shape[2]).to(best.dtype), zero)
    best = torch.where(is_box, best, zero)
    missing = total - taken
    pad = torch.nn.functional.pad
    return (
        pad(rows, [0, 0, 0, missing]),
        pad(best, [0, missing]),
        pad(kind, [0, missing]),
        is_box.sum(-1).to(torch.int32),
    )


@op("NonMaxSuppressionWithOverlaps", outputs=("selected_indices",))
def suppress_with_overlaps(call: Call, overlaps: Value, scores: Value, size: Value, *numbers: Value) -> Value:
    """Return the same for overlaps that are given as a matrix."""
    matrix, values = to_tensors(call.dtype, overlaps, scores)
    overlap, least = map(to_number, numbers)
    left = torch.where(values > least, values, torch.full((), -math.inf, dtype=values.dtype))
    indices: list[int] = []
    while len(indices) < to_int(size) and bool((left > -math.inf).any()):
        best = int(left.argmax())
        indices.append(best)
        left = torch.where(matrix[best] > overlap, torch.full_like(left, -math.inf), left)
        left[best] = -math.inf
    return to_tensor(torch.tensor(indices, dtype=torch.int32), call.dtype)
