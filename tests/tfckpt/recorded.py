"""The records that real TensorFlow made of the checkpoints in tests/data/tensorflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TENSORFLOW = Path(__file__).parents[1] / "data" / "tensorflow"

Record = dict[str, Any]


def expected(case: str) -> Record:
    """Return the `expected.json` of a case."""
    record: Record = json.loads((TENSORFLOW / case / "expected.json").read_text("ascii"))
    return record
