"""The index of a bundle: its header, and the entry of every tensor and tensor slice.

Listing names needs no entry to be decoded, unless there are slices, whose keys only their tensors' entries determine.
The entries of a small index are kept when tensors are looked up after a listing, or many are; others are decoded again.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
from collections.abc import Iterator, Mapping

from .._threads import cached_property
from .._typing import ByteSource, ByteView
from ..coding.names import decode_name
from ..errors import CheckpointError, CorruptionError, LimitExceededError, ResourceError, error_context
from ..limits import Limits
from ..sstable.block import Batch
from ..sstable.table import Table
from ..tensors.slices import TensorSlice
from .batches import BatchDecoder
from .entry import BundleEntry, BundleHeader
from .listing import Listing, check_slice_keys

_HEADER_KEY = b""
#: First byte of the keys of slices; few names begin with it.
_SLICE_MARK = b"\0"
#: `salvage` stops after this many errors; an index that is damaged everywhere would need gigabytes for its errors.
_MAX_ERRORS = 10_000
#: Size of the largest index whose entries are kept: some 40,000 entries of 400 bytes of memory each.
_KEPT_BYTES = 2 << 20
#: After this many lookups it takes less time to decode all entries of a small index than to look for the next ones.
_FEW_LOOKUPS = 32


class BundleIndex:
    """An open index file; thread-safe."""

    def __init__(self, source: ByteSource, limits: Limits) -> None:
        """Read the header; the caller closes the source."""
        self._source = source
        self._limits = limits
        self._is_checked = self._is_damaged = False
        self._lookups = 0
        #: The last entry that was looked up: what is done with a tensor begins with a lookup, several times over.
        self._last: tuple[bytes, BundleEntry | None] = (b"", None)
        with error_context(path=source.name):
            self._table = Table(source, limits)
            first = self._table.first()
            if first is None or first[0] != _HEADER_KEY:
                raise CorruptionError("table without a bundle header: its first key is not the empty key")
            self.header = BundleHeader.decode(first[1], limits)
        self._decoder = BatchDecoder(self.header, limits)

    @property
    def is_kept(self) -> bool:
        """Whether names and entries stay in memory once they are listed."""
        return self._source.size <= _KEPT_BYTES

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all tensors, sorted by their bytes; for an index that is kept."""
        return tuple(map(decode_name, self._keys()))

    def iterate_names(self) -> Iterator[str]:
        """Yield the names of all tensors, sorted by their bytes."""
        return iter(self.names) if self.is_kept else map(decode_name, self._keys())

    @cached_property
    def count(self) -> int:
        """The number of tensors."""
        return len(self.names) if self.is_kept else sum(1 for _ in self._keys())

    def iterate_entries(self) -> Iterator[tuple[bytes, BundleEntry]]:
        """Yield key and entry of every tensor, in the order of the keys, without the slices."""
        return itertools.chain.from_iterable(self.iterate_batches())

    def iterate_batches(self) -> Iterator[Iterator[tuple[bytes, BundleEntry]]]:
        """Yield what `iterate_entries` yields, thousands at a time."""
        if not self._has_entries:
            for batch in self._batches():
                if _begins_with_slices(batch):
                    break
                yield zip(batch.keys, self._decoder.decode(batch, self._decode), strict=True)
            else:
                return
        yield iter(self._entries.items())

    def find(self, key: bytes | None) -> BundleEntry | None:
        """Return the entry of a tensor, from the listing if there is one, else with a lookup in the table."""
        if not key:
            return None
        # Only the listing can distinguish the keys of slices from the names of tensors.
        if self._has_entries or key.startswith(_SLICE_MARK):
            return self._entries.get(key)
        self._lookups += 1
        is_listed = "names" in self.__dict__ or self._lookups > _FEW_LOOKUPS
        if self.is_kept and is_listed and not self._is_damaged:
            try:
                return self._entries.get(key)
            except CheckpointError:  # only of the damaged entry
                self._is_damaged = True
        last_key, last = self._last
        if last_key == key:
            return last
        value = self._table.get(key)
        if value is not None:
            entry = self._decode(key, value)
            self._last = key, entry
            return entry
        if not self._is_checked:  # so that a damaged index is an error and not a missing name
            collections.deque(self.iterate_entries(), maxlen=0)
            self._is_checked = True
        return None

    def find_parts(self, key: bytes, entry: BundleEntry) -> list[tuple[TensorSlice, BundleEntry]]:
        """Return the slices of a tensor with their entries; a tensor that is not partitioned is one slice."""
        if not entry.slices:
            return [(TensorSlice.whole(len(entry.shape)), entry)]
        parts = []
        check_slice_keys(key, entry, self._table.limits)
        for piece in entry.slices:
            value = self._table.get(piece.key(key))
            if value is None:
                raise CorruptionError(f"slice {piece} of the tensor has no entry in the index")
            part = BundleEntry.decode(value, self.header, self._limits)
            expected = piece.shape(entry.shape)
            if part.slices or part.shape != expected or part.data_type != entry.data_type:
                raise CorruptionError(
                    f"slice {piece} is stored as {part.data_type.name} {list(part.shape)}, "
                    f"expected {entry.data_type.name} {list(expected)}"
                )
            parts.append((piece, part))
        return parts

    def salvage(self) -> tuple[tuple[str, ...], list[CheckpointError]]:
        """List names despite damage: return all names that can be found, in order, and the errors.

        Damaged blocks and entries are skipped. The search stops if a limit is exceeded or there are thousands of
        errors.
        """
        errors: list[CheckpointError] = []
        if not self.is_kept and not self._has_entries:
            with _collect_errors([], limits=True):
                if not self._has_slices:
                    return tuple(self.iterate_names()), errors  # a damaged entry is an error when it is used
        listing = Listing(self._table.limits)
        with _collect_errors(errors):
            self._table.check_metaindex()
        with _collect_errors(errors, limits=True):
            for number in range(self._table.block_count):
                with _collect_errors(errors):
                    for key, value in self._table.block_entries(number):
                        with _collect_errors(errors):
                            self._add(listing, key, value)
                        if len(errors) >= _MAX_ERRORS:
                            return tuple(map(decode_name, listing.without_slices())), errors
        return tuple(map(decode_name, listing.without_slices())), errors

    @property
    def _has_entries(self) -> bool:
        return "_entries" in self.__dict__

    @property
    def _has_slices(self) -> bool:
        """Whether a key may be that of a slice; such keys come first."""
        second = self._table.seek(_SLICE_MARK)
        return second is not None and second[0].startswith(_SLICE_MARK)

    @cached_property
    def _entries(self) -> Mapping[bytes, BundleEntry]:
        """The entries of all tensors in key order, without the header and the slices."""
        if not self.is_kept:  # exceed the limits before entries take memory
            collections.deque(self._table.batches(), maxlen=0)
        listing = Listing(self._table.limits)
        for batch in self._batches():
            for key, entry in zip(batch.keys, self._decoder.decode(batch, self._decode), strict=True):
                listing.add(key, entry)
        return listing.without_slices()

    def _keys(self) -> Iterator[bytes]:
        if not self._has_entries:
            for batch in self._batches():
                if _begins_with_slices(batch):
                    break
                yield from batch.keys
            else:
                return
        yield from self._entries

    def _batches(self) -> Iterator[Batch]:
        """Yield all entries of the table but the header."""
        batches = self._table.batches()
        head = next(batches)
        if len(head.keys) > 1:
            yield head.part(1)
        yield from batches

    def _add(self, listing: Listing, key: bytes, value: ByteView) -> None:
        if key != _HEADER_KEY:
            listing.add(key, self._decode(key, value))

    def _decode(self, key: bytes, value: ByteView) -> BundleEntry:
        try:
            return BundleEntry.decode(value, self.header, self._limits)
        except CheckpointError as error:
            with error_context(path=self._source.name, tensor=decode_name(key)):
                raise error


def _begins_with_slices(batch: Batch) -> bool:
    """Return whether the first key may be that of a slice; these keys come before others, so in the first batch."""
    return batch.keys[0].startswith(_SLICE_MARK)


@contextlib.contextmanager
def _collect_errors(errors: list[CheckpointError], *, limits: bool = False) -> Iterator[None]:
    """Append a `CheckpointError` to the list and suppress it; a `LimitExceededError` only with `limits`."""
    try:
        yield
    except ResourceError:
        raise
    except CheckpointError as error:
        if isinstance(error, LimitExceededError) and not limits:
            raise
        # Drop the traceback to save memory, since there may be thousands of errors.
        errors.append(error.with_traceback(None))
