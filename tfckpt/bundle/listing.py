"""The entries of a bundle's index, with limits on their total size.

The table limits its own entries and keys. Partitioned tensors claim additional keys, one per slice.
"""

from __future__ import annotations

from ..limits import Limits, check_limit
from .entry import BundleEntry


class Listing:
    """The entries of an index, added one by one and limited in total."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries: dict[bytes, BundleEntry] = {}
        self._slices = 0
        self._max_entries = limits.max_entries
        self._max_key_bytes = limits.max_key_bytes
        self._key_bytes = 0

    def add(self, key: bytes, entry: BundleEntry) -> None:
        """Add an entry; `LimitExceededError` if the entries together exceed a limit.

        Every slice has its own entry, which comes before its tensor's unless the tensor's name begins with a zero byte.
        """
        self._entries[key] = entry
        self._key_bytes += len(key)
        if entry.slices:
            self._slices += len(entry.slices)
            check_slice_keys(key, entry, self._limits)
        if len(self._entries) > self._max_entries or self._key_bytes > self._max_key_bytes or self._slices:
            self._check()

    def _check(self) -> None:
        check_limit(self._limits, "max_slices", self._slices - len(self._entries), "too many tensor slices")
        check_limit(self._limits, "max_entries", len(self._entries), "too many entries")
        check_limit(self._limits, "max_key_bytes", self._key_bytes, "too many bytes of names")

    def without_slices(self) -> dict[bytes, BundleEntry]:
        """Return the entries of tensors only; only the parent entries determine which keys belong to slices."""
        slice_keys = {
            slice_key
            for key, entry in self._entries.items()
            for slice_key in (piece.key(key) for piece in entry.slices)
            if slice_key in self._entries
        }
        if not slice_keys:
            return self._entries
        return {key: entry for key, entry in self._entries.items() if key not in slice_keys}


def check_slice_keys(key: bytes, entry: BundleEntry, limits: Limits) -> None:
    """Raise `LimitExceededError` if a name is too long, since the key of each of its slices contains it."""
    claimed = len(key) * len(entry.slices)
    check_limit(limits, "max_key_bytes", claimed, "tensor slices with too long a name")
