"""What real TensorFlow recorded of the checkpoints in tests/data/tensorflow, and how to compare with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from tfckpt._typing import Array

TENSORFLOW = Path(__file__).parents[1] / "data" / "tensorflow"

Record = dict[str, Any]


def expected(case: str) -> Record:
    """The `expected.json` of a case."""
    found: Record = json.loads((TENSORFLOW / case / "expected.json").read_text("ascii"))
    return found


def digest(array: Array) -> str:
    """The SHA-256 that is recorded of an array: of its bytes, or of its strings each after its length in 8 bytes."""
    if array.dtype == object:
        strings = b"".join(len(item).to_bytes(8, "little") + item for item in array.ravel().tolist())
        return hashlib.sha256(strings).hexdigest()
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
