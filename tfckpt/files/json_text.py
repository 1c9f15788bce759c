"""JSON text for files.

Input is bounded before it is parsed: `[],` takes three bytes in a file and seventy in memory.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

#: Most values in one text, counted by commas and brackets. A safetensors header has ten per tensor.
MAX_VALUES = 2_000_000
#: Version of the JSON that both commands write for programs, which docs/json.md describes.
#: Fields may be added without a new version.
SCHEMA_VERSION = 1

_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(text: str | bytes, *, max_values: int = MAX_VALUES) -> Any:
    """Parse JSON; raise only `ValueError`, for invalid JSON and for more than `max_values` values."""
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    count = 1 + text.count(",") + text.count("[") + text.count("{")
    if count > max_values:
        raise ValueError(f"up to {count:,} values, over the limit of {max_values:,}")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dump_json(value: Any, *, ensure_ascii: bool = True) -> str:
    """Return indented JSON; numbers that are infinite or NaN, which JSON does not have, become null."""
    try:
        return json.dumps(value, indent=2, ensure_ascii=ensure_ascii, allow_nan=False)
    except ValueError:
        return json.dumps(_drop_non_finite(value), indent=2, ensure_ascii=ensure_ascii, allow_nan=False)


def _drop_non_finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _drop_non_finite(item) for key, item in value.items()}
    return [_drop_non_finite(item) for item in value] if isinstance(value, list | tuple) else value


def format_json(value: Any) -> str:
    """Return indented JSON as valid UTF-8 text that ends in a line feed.

    Bytes of a name that are not UTF-8 are surrogates in Python; they are written as escapes.
    """
    text = dump_json(value, ensure_ascii=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"
