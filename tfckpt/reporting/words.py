"""Numbers as words of reports."""

from __future__ import annotations

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def format_size(nbytes: int) -> str:
    """Format a number of bytes in powers of 1000: 512 bytes, 1.5 kB."""
    value = float(nbytes)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{nbytes} bytes" if unit == _UNITS[0] else f"{value:.1f} {unit}"


def format_number(value: float | None) -> str:
    """Format a value with three significant digits; a dash for None."""
    return "–" if value is None else f"{value:.3g}"
