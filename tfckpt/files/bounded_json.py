"""JSON from files, which can claim little and be much: `[],` is three bytes in a file and seventy in memory."""

from __future__ import annotations

import json
from typing import Any

#: Values of one text, counted by what stands between them: ten for each tensor of a safetensors header.
MAX_VALUES = 2_000_000


def read_json(text: str | bytes) -> Any:
    """Parse JSON; `ValueError`, and no other exception, for what is none or has more than `MAX_VALUES` values."""
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    count = 1 + text.count(",") + text.count("[") + text.count("{")
    if count > MAX_VALUES:
        raise ValueError(f"up to {count:,} values, over the limit of {MAX_VALUES:,}")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
