"""Reading over HTTP from a local server: numbers of requests and bytes, which do not depend on the machine."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import tfckpt
from tests.contracts.server import Server, serving

from . import checkpoints
from .measure import Result

_KIBIBYTES_64 = 64 << 10


def remote() -> Iterator[Result]:
    """Count the cost of listing and of reading one tensor, with a small index and with a large one."""
    for label, prefix in (("B0", checkpoints.network("efficientnetv2-b0")), ("20,000", checkpoints.entries(20_000))):
        with serving(_files(prefix)) as server:
            yield from _costs(label, server, prefix)


def _costs(label: str, server: Server, prefix: pathlib.Path) -> Iterator[Result]:
    index = len(server.files[f"{prefix.name}.index"])
    address = server.url + prefix.name
    with tfckpt.open(address) as checkpoint:
        infos = list(checkpoint.infos())
    yield Result(
        f"HTTP, list {len(infos):,} tensors ({label}): bytes",
        server.sent,
        index + _KIBIBYTES_64,
        True,
        "bytes",
        f"index of {index:,} bytes, {len(server.requests)} requests",
    )
    middle = max(infos, key=lambda info: info.nbytes)
    server.forget()
    with tfckpt.open(address) as checkpoint:
        value = checkpoint[middle.name]
    detail = f"tensor of {value.nbytes:,} bytes"
    if label == "B0":
        # Opening reads the index first, or 64 KiB of it.
        limit = min(index, _KIBIBYTES_64) + value.nbytes + _KIBIBYTES_64
        yield Result("HTTP, one tensor of B0: bytes", server.sent, limit, True, "bytes", detail)
    yield Result(f"HTTP, one tensor ({label}): requests", len(server.requests), 3, True, "requests", detail)


def _files(prefix: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in prefix.parent.iterdir() if path.name.startswith(prefix.name)}
