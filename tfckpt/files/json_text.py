"""JSON text from and for files.

Text from a file is bounded before it is parsed: `[],` takes three bytes in a file and seventy in memory.
"""

from __future__ import annotations

import json
import re
from typing import Any

#: Values of one text, counted by what stands between them: ten for each tensor of a safetensors header.
MAX_VALUES = 2_000_000

_SURROGATE = re.compile("[\ud800-\udfff]")


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


def json_text(value: Any) -> str:
    """Return indented JSON that ends in a line feed and is valid UTF-8.

    Bytes of a name that are not UTF-8 are surrogates in Python; they are written as escapes.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"
