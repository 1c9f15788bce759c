"""Suppression of overlapping boxes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import single


def _boxes(*shape, seed=0):
    generator = np.random.default_rng([seed, *shape])
    corner = generator.uniform(-0.2, 0.8, (*shape, 2))
    boxes = np.concatenate([corner, corner + generator.uniform(0.1, 0.5, (*shape, 2))], -1)
    return single(np.round(boxes * 64) / 64)


def _scores(*shape, seed=0):
    """Return different scores: TensorFlow leaves the order of equal ones open."""
    count = int(np.prod(shape))
    return single(np.random.default_rng([seed, *shape]).permutation(count).reshape(shape) / (count + 1))


def record(case):
    raw = tf.raw_ops
    boxes, scores = _boxes(24), _scores(24)
    boxes[3] = boxes[3][[2, 1, 0, 3]]  # corners in another order
    boxes[5] = [0.5, 0.5, 0.5, 0.9]  # without an area
    common = {"max_output_size": 9}
    for overlap in (0.0, 0.3, 1.0):
        case(
            f"NonMaxSuppression/{overlap}",
            lambda b, s, o=overlap: raw.NonMaxSuppression(boxes=b, scores=s, iou_threshold=o, **common),
            boxes,
            scores,
        )
        case(
            f"NonMaxSuppressionV2/{overlap}",
            lambda b, s, o=overlap: raw.NonMaxSuppressionV2(boxes=b, scores=s, iou_threshold=o, **common),
            boxes,
            scores,
        )
        for least in (0.0, 0.6, 2.0):
            numbers = {"iou_threshold": overlap, "score_threshold": least, **common}
            case(
                f"NonMaxSuppressionV3/{overlap}/{least}",
                lambda b, s, n=numbers: raw.NonMaxSuppressionV3(boxes=b, scores=s, **n),
                boxes,
                scores,
            )
            for pad in (False, True):
                case(
                    f"NonMaxSuppressionV4/{overlap}/{least}/{pad}",
                    lambda b, s, n=numbers, p=pad: [
                        *raw.NonMaxSuppressionV4(boxes=b, scores=s, pad_to_max_output_size=p, **n)
                    ],
                    boxes,
                    scores,
                )
                for sigma in (0.0, 0.5):
                    case(
                        f"NonMaxSuppressionV5/{overlap}/{least}/{pad}/{sigma}",
                        lambda b, s, n=numbers, p=pad, g=sigma: [
                            *raw.NonMaxSuppressionV5(boxes=b, scores=s, soft_nms_sigma=g, pad_to_max_output_size=p, **n)
                        ],
                        boxes,
                        scores,
                    )
    case(
        "NonMaxSuppressionV3/one box",
        lambda b, s: raw.NonMaxSuppressionV3(boxes=b, scores=s, iou_threshold=0.5, score_threshold=0.1, **common),
        boxes[:1],
        scores[:1],
    )
    matrix = single(np.abs(np.subtract.outer(np.arange(9), np.arange(9))) < 2)
    case(
        "NonMaxSuppressionWithOverlaps",
        lambda m, s: raw.NonMaxSuppressionWithOverlaps(
            overlaps=m, scores=s, max_output_size=4, overlap_threshold=0.5, score_threshold=0.1
        ),
        matrix,
        _scores(9, seed=2),
    )
    for shared in (1, 3):
        for per_class, total, pad, clip in (
            (4, 6, False, True),
            (2, 20, True, False),
            (2, 20, False, True),
            (30, 5, True, True),
        ):
            for least in (0.3, 0.9):
                case(
                    f"CombinedNonMaxSuppression/{shared}/{per_class}/{total}/{pad}/{clip}/{least}",
                    lambda b, s, a=per_class, t=total, p=pad, c=clip, m=least: [
                        *raw.CombinedNonMaxSuppression(
                            boxes=b,
                            scores=s,
                            max_output_size_per_class=a,
                            max_total_size=t,
                            iou_threshold=0.4,
                            score_threshold=m,
                            pad_per_class=p,
                            clip_boxes=c,
                        )
                    ],
                    _boxes(2, 12, shared),
                    _scores(2, 12, 3, seed=4),
                )
