"""The choice of a report's format by the ending of its name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeVar

from ..errors import ExportError

_T = TypeVar("_T")


def choose_by_ending(path: str, formats: Mapping[str, _T]) -> _T:
    """Return the format for the ending of a report's name; raise `ExportError` for any other ending."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in formats:
        raise ExportError(f"a report has to end in {' or '.join(formats)}", path=path)
    return formats[ending]
