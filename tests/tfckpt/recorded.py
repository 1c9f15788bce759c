"""What real TensorFlow recorded of the checkpoints in tests/data/tensorflow, and how to compare with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TENSORFLOW = Path(__file__).parents[1] / "data" / "tensorflow"

Record = dict[str, Any]


def expected(case: str) -> Record:
    """The `expected.json` of a case."""
    found: Record = json.loads((TENSORFLOW / case / "expected.json").read_text("ascii"))
    return found
