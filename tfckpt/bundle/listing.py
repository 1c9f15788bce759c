"""All entries of a bundle's index together, within the limits.

A table alone bounds its entries and keys; partitioned tensors claim further keys, one for each slice.
"""

from __future__ import annotations

from ..limits import Limits, check_limit
from .entry import BundleEntry


class Listing:
    """The entries of an index as they are met, as long as they stay within the limits together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries: dict[bytes, BundleEntry] = {}
        self._slices = 0
        self._most_entries = limits.max_entries
        self._most_key_bytes = limits.max_key_bytes
        self._key_bytes = 0

    def add(self, key: bytes, entry: BundleEntry) -> None:
        """Take one more entry; `LimitExceededError` when they claim too much.

        Every slice has an entry of its own, which stands before its tensor's unless that name begins with a zero byte.
        """
        self._entries[key] = entry
        self._key_bytes += len(key)
        if entry.slices:
            self._slices += len(entry.slices)
            check_slice_keys(key, entry, self._limits)
        if len(self._entries) > self._most_entries or self._key_bytes > self._most_key_bytes or self._slices:
            self._check()

    def _check(self) -> None:
        check_limit(self._limits, "max_slices", self._slices - len(self._entries), "too many tensor slices")
        check_limit(self._limits, "max_entries", len(self._entries), "too many entries")
        check_limit(self._limits, "max_key_bytes", self._key_bytes, "too many bytes of names")

    def without_slices(self) -> dict[bytes, BundleEntry]:
        """The entries of tensors; those of slices are known only by the keys that their tensors give."""
        hidden = {
            slice_key
            for key, entry in self._entries.items()
            for slice_key in (piece.key(key) for piece in entry.slices)
            if slice_key in self._entries
        }
        if not hidden:
            return self._entries
        return {key: entry for key, entry in self._entries.items() if key not in hidden}


def check_slice_keys(key: bytes, entry: BundleEntry, limits: Limits) -> None:
    """Refuse a name that is too long for the keys of its slices, each of which holds it."""
    claimed = len(key) * len(entry.slices)
    check_limit(limits, "max_key_bytes", claimed, "tensor slices with too long a name")
