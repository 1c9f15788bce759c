"""The cases by subject, and the values they are made of."""

from __future__ import annotations

import numpy as np


def reals(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Normal numbers on a grid of 1/64, so that files stay small; the last bits come from the operations."""
    numbers = np.random.default_rng([seed, *shape]).normal(size=shape) * scale
    return np.round(numbers * 64) / 64


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers from 1/8 to 2."""
    return np.round(np.random.default_rng([seed, *shape]).uniform(0.125, 2, shape) * 64) / 64


def single(array: np.ndarray) -> np.ndarray:
    """The same in float32."""
    return array.astype(np.float32)


def integers(*shape: int, low: int = -9, high: int = 10, dtype: str = "int32", seed: int = 0) -> np.ndarray:
    """Integers from `low` up to `high`, without it."""
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(dtype)


def bools(*shape: int, seed: int = 0) -> np.ndarray:
    """True and false."""
    return np.random.default_rng([seed, *shape]).integers(0, 2, shape).astype(bool)
