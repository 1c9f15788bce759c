"""Facts about the machine that runs the benchmarks."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import pathlib
import platform

_PACKAGES = ("numpy", "protobuf", "crc32c", "torch", "timm", "matplotlib")


def facts() -> dict[str, object]:
    """Return processor, memory, system, versions, and the date."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _field(path: str, key: str) -> str | None:
    """Return the value of the first `key: value` line in a file of Linux's /proc, or None."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
