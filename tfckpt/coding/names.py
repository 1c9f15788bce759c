"""Tensor names as text: UTF-8, where each byte that is not valid UTF-8 becomes a lone surrogate.

TensorFlow stores names as bytes and does not check their encoding, so any bytes must survive the round trip.
"""

from __future__ import annotations


def decode_name(key: bytes) -> str:
    """Return the name in these bytes."""
    return key.decode("utf-8", "surrogateescape")


def encode_name(name: str) -> bytes | None:
    """Return the bytes of a name, or None if no bytes decode to it."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
