"""The figures of an evaluation: what counts as a prediction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from converter.verification.comparison import predict_classes
from converter.verification.evaluation import ImageArrays, evaluate

#: Four images of class 0, whose values are the logits of a network.
LOGITS = np.array([[3.0, 1.0], [2.0, 0.0], [5.0, 4.0], [1.0, 0.5]], np.float32)
DATA = ImageArrays(LOGITS[:, None, None], np.zeros(4, np.int64), None)


def read_logits(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the logits of some images."""
    return images[:, 0, 0]


def break_logits(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return NaN, as a network whose values overflow does."""
    return np.full_like(read_logits(images), np.nan)


def test_a_network_that_gives_nan_predicts_nothing() -> None:
    """Although the position of the largest value is then 0, which is the class of every image here."""
    right = evaluate(read_logits, DATA, classes=2)
    broken = evaluate(break_logits, DATA, classes=2)

    assert (right.top1, right.top5) == (4, 4)
    assert (broken.top1, broken.top5) == (0, 0)


def test_nan_differs_from_the_graph() -> None:
    """In the predictions, and in the largest difference, also if a batch without NaN follows."""

    def break_first(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return break_logits(images) if images[0, 0, 0, 0] == LOGITS[0, 0] else read_logits(images)

    result = evaluate(break_first, DATA, classes=2, oracle=read_logits, batch_size=2)

    assert result.differing == 2
    assert result.largest_difference is not None
    assert math.isnan(result.largest_difference)


def test_predictions_are_the_largest_value_of_each_row() -> None:
    """An infinite value counts as the largest one; logits with NaN predict nothing."""
    rows = np.array([[1.0, 2.0, 0.0], [np.inf, 2.0, 0.0], [np.nan, 2.0, 0.0], [-np.inf, -np.inf, 0.0]])

    assert predict_classes(rows).tolist() == [1, 0, -1, 2]
