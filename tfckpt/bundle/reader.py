"""Tensors of a V2 checkpoint by name.

Looking up one name reads the footer, the index block and one data block of the index.
Listing reads and checks all of the index.
Data shards are opened when the first of their tensors is read.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from .._typing import Array, ByteSource, ByteView
from ..coding.crc32c import crc32c
from ..coding.names import decode_name, encode_name
from ..errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptionError,
    LimitExceededError,
    TensorNotFoundError,
    TruncatedError,
    UnsupportedFeatureError,
    error_context,
    find_close_names,
    past_end,
    say_close_names,
)
from ..limits import DEFAULT_LIMITS, Limits
from ..sstable.table import Table
from ..storage.base import Storage
from ..tensors.dense import check_rank, decode_dense
from ..tensors.indexing import Index, Selection, gather, select
from ..tensors.info import TensorInfo
from ..tensors.reading import Payload
from ..tensors.slices import FULL, TensorSlice, check_cover
from ..tensors.strings import decode_strings
from . import naming
from .entry import BundleEntry, BundleHeader
from .listing import Listing, check_slice_keys

_HEADER_KEY = b""
#: Looking for damage ends here: an index of damaged entries alone would take gigabytes of errors.
_MOST_ERRORS = 10_000


class BundleReader:
    """A tensor bundle, open for reading; safe to use from several threads."""

    format: str = "V2"

    def __init__(self, storage: Storage, prefix: str, limits: Limits = DEFAULT_LIMITS) -> None:
        """Open the index and read the header; data shards are not touched."""
        self._storage = storage
        self._prefix = prefix
        self._limits = limits
        self._lock = threading.Lock()
        self._shards: dict[int, ByteSource] = {}
        self._index = storage.open(naming.index_name(prefix))
        with error_context(path=self._index.name):
            self._table = Table(self._index, limits)
            first = self._table.first()
            if first is None or first[0] != _HEADER_KEY:
                raise CorruptionError("table without a bundle header: its first key is not the empty one")
            self._header = BundleHeader.decode(first[1], limits)

    @property
    def num_shards(self) -> int:
        """Number of data shards that the header declares."""
        return self._header.num_shards

    @property
    def producer(self) -> int:
        """Version of the format that the writer declared."""
        return self._header.producer

    @property
    def big_endian(self) -> bool:
        """Whether the bytes of numbers are stored in this order."""
        return self._header.big_endian

    @property
    def can_copy(self) -> bool:
        """Whether the payloads are those that a new checkpoint would have, which is always little-endian."""
        return not self._header.big_endian

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the index file and of every data shard the header counts, whether it is there or not."""
        return (self._index.name, *map(self.shard_path, range(self._header.num_shards)))

    def shard_path(self, shard_id: int) -> str:
        """Path of one data shard."""
        return naming.shard_name(self._prefix, shard_id, self._header.num_shards)

    def names(self) -> tuple[str, ...]:
        """Every tensor's name in the order of its bytes; slices stand under their tensor's name."""
        return tuple(map(decode_name, self._entries))

    def __contains__(self, name: str) -> bool:
        """Whether there is a tensor of this name."""
        return self._find(encode_name(name)) is not None

    def entries(self) -> Iterator[tuple[str, BundleEntry]]:
        """Every tensor's name and entry in the order of `names`."""
        return ((decode_name(key), entry) for key, entry in self._entries.items())

    def info(self, name: str) -> TensorInfo:
        """What the index says of a tensor."""
        return self._describe(name, self._entry(name))

    def infos(self) -> Iterator[TensorInfo]:
        """What the index says of every tensor, in the order of `names`."""
        return (self._describe(name, entry) for name, entry in self.entries())

    def missing_shards(self) -> dict[str, tuple[str, ...]]:
        """The data shards that are not there: path to the names of the tensors that cannot be read without it."""
        absent = {
            shard_id: path
            for shard_id, path in enumerate(map(self.shard_path, range(self._header.num_shards)))
            if not self._storage.is_file(path)
        }
        lost: dict[str, list[str]] = {path: [] for path in absent.values()}
        if absent:
            for name, entry in self.entries():
                parts = [part for _, part in self._parts(name, entry)]
                for shard_id in sorted({part.shard_id for part in parts}):
                    if shard_id in absent:
                        lost[absent[shard_id]].append(name)
        return {path: tuple(names) for path, names in lost.items()}

    def read(self, name: str, *, verify: bool = True, index: Index = None) -> Array:
        """The tensor, or the part that `index` selects; a read-only view of the file where possible, else a copy.

        If `verify`, every payload that holds a selected element is read whole and its checksum compared.
        Otherwise, of a fixed-width payload only the contiguous rows that hold selected elements are read.
        """
        entry = self._entry(name)
        selection = select(entry.shape, index)
        with error_context(path=self._index.name, tensor=name):
            if not entry.slices:
                whole_or_box = self._payload(entry, selection, verify=verify)
                return whole_or_box if index is None else selection.finish(whole_or_box)
            check_cover(entry.slices, entry.shape)
            parts = [(piece, part) for piece, part in self._parts(name, entry) if selection.overlap(piece)]
            self._check_parts([part for _, part in parts])
            dtype = entry.data_type.to_numpy()
            return gather(selection, dtype, parts, lambda part, inside: self._payload(part, inside, verify=verify))

    def payloads(self, name: str) -> list[Payload]:
        """Where a tensor is stored, one payload per slice."""
        entry = self._entry(name)
        with error_context(path=self._index.name, tensor=name):
            return [
                Payload(part.data_type, entry.shape, piece, part.shard_id, part.offset, part.size, part.crc32c)
                for piece, part in self._parts(name, entry)
            ]

    def read_payload(self, name: str, payload: Payload) -> ByteView:
        """Return the bytes of one of a tensor's payloads after comparing their checksum.

        Nothing is decoded, so this also gives what cannot be read, such as variants.
        """
        data_type, shape, piece, shard_id, offset, nbytes, checksum = payload
        entry = BundleEntry(data_type, piece.shape(shape), shard_id, offset, nbytes, checksum, slices=())
        with error_context(path=self._index.name, tensor=name):
            source = self._source(entry) if entry.data_type.is_readable else self._shard(entry.shard_id)
            with error_context(path=source.name):
                data = self._bytes(source, entry, entry.offset, entry.size)
                entry.check_payload(data, self._limits, big_endian=self._header.big_endian)
                return data

    def shard_sizes(self) -> dict[str, int]:
        """Return how many bytes of each data shard its tensors reach over, by path."""
        needed = [0] * self._header.num_shards
        for name, entry in self.entries():
            with error_context(path=self._index.name, tensor=name):
                for _, part in self._parts(name, entry):
                    needed[part.shard_id] = max(needed[part.shard_id], part.offset + part.size)
        return {self.shard_path(shard_id): nbytes for shard_id, nbytes in enumerate(needed)}

    @contextlib.contextmanager
    def prefetch(self, names: Iterable[str], threads: int) -> Iterator[None]:
        """Fetch the payloads of these tensors in few requests at once, and hold them while the context lasts."""
        ranges: dict[str, list[tuple[int, int]]] = {}
        with contextlib.suppress(CheckpointError):  # `read` meets the same fault and says which tensor it concerns
            for name in names:
                entry = self._find(encode_name(name))
                for _, part in self._parts(name, entry) if entry is not None else ():
                    ranges.setdefault(self.shard_path(part.shard_id), []).append((part.offset, part.size))
        with self._storage.prefetch(ranges, threads):
            yield

    def salvage(self) -> tuple[tuple[str, ...], list[CheckpointError]]:
        """The names that can still be found past damage, in order, and what is damaged in the index.

        Goes on after a damaged block with the next one, and after a damaged entry with the next one,
        until something is larger than its limit or there are thousands of errors.
        """
        errors: list[CheckpointError] = []
        listing = Listing(self._limits)
        with _collecting(errors):
            self._table.check_metaindex()
        with _collecting(errors, limits=True):
            for number in range(self._table.block_count):
                with _collecting(errors):
                    for key, value in self._table.block_entries(number):
                        with _collecting(errors):
                            self._list(listing, key, value)
                        if len(errors) >= _MOST_ERRORS:
                            return tuple(map(decode_name, listing.without_slices())), errors
        return tuple(map(decode_name, listing.without_slices())), errors

    def close(self) -> None:
        """Close the files; arrays that were read stay valid."""
        with self._lock:
            shards, self._shards = list(self._shards.values()), {}
        for source in (self._index, *shards):
            source.close()

    @functools.cached_property
    def _entries(self) -> Mapping[bytes, BundleEntry]:
        """Every entry but the header and the slices, in key order."""
        listing = Listing(self._limits)
        for key, value in self._table:
            self._list(listing, key, value)
        return listing.without_slices()

    def _list(self, listing: Listing, key: bytes, value: ByteView) -> None:
        if key != _HEADER_KEY:
            try:
                listing.add(key, BundleEntry.decode(value, self._header, self._limits))
            except CheckpointError as error:
                with error_context(path=self._index.name, tensor=decode_name(key)):
                    raise error

    def _find(self, key: bytes | None) -> BundleEntry | None:
        """The entry under a key, sought in the index, or taken from the listing if that was made."""
        if not key:
            return None
        # Only the listing tells the slices of other tensors, whose keys begin with a zero byte, from tensors.
        if "_entries" in self.__dict__ or key.startswith(b"\0"):
            return self._entries.get(key)
        value = self._table.get(key)
        if value is None:
            return self._entries.get(key)  # a name is denied only when all of the index has been checked
        with error_context(path=self._index.name, tensor=decode_name(key)):
            return BundleEntry.decode(value, self._header, self._limits)

    def _entry(self, name: str) -> BundleEntry:
        entry = self._find(encode_name(name))
        if entry is None:
            close = find_close_names(name, self.names())
            hint = say_close_names(close)
            raise TensorNotFoundError(f"not in the checkpoint{hint}", close_names=close, path=self._prefix, tensor=name)
        return entry

    def _parts(self, name: str, entry: BundleEntry) -> list[tuple[TensorSlice, BundleEntry]]:
        """The slices of a tensor with the entries that hold them; a tensor without slices is its own one slice."""
        if not entry.slices:
            return [(TensorSlice(((0, FULL),) * len(entry.shape)), entry)]
        parts = []
        key = encode_name(name) or b""
        check_slice_keys(key, entry, self._limits)
        for piece in entry.slices:
            value = self._table.get(piece.key(key))
            if value is None:
                raise CorruptionError(f"slice {piece} of the tensor has no entry in the index")
            part = BundleEntry.decode(value, self._header, self._limits)
            expected = piece.shape(entry.shape)
            if part.slices or part.shape != expected or part.data_type != entry.data_type:
                raise CorruptionError(
                    f"slice {piece} is stored as {part.data_type.name} {list(part.shape)}, "
                    f"expected {entry.data_type.name} {list(expected)}"
                )
            parts.append((piece, part))
        return parts

    def _source(self, entry: BundleEntry) -> ByteSource:
        """The data shard of an entry without slices, after comparing the entry's type, shape and size."""
        data_type = entry.data_type
        if not data_type.is_readable:
            raise UnsupportedFeatureError(f"values of type {data_type.enum_name} cannot be read")
        if not data_type.is_string and entry.size != (expected := math.prod(entry.shape) * data_type.itemsize):
            raise CorruptionError(
                f"{data_type.name} of shape {list(entry.shape)} takes {expected} bytes, the entry says {entry.size}"
            )
        if data_type.is_string and entry.size < math.prod(entry.shape):
            raise CorruptionError(
                f"{math.prod(entry.shape)} strings take a byte each at least, the entry says {entry.size}"
            )
        return self._shard(entry.shard_id)

    def _check_place(self, entry: BundleEntry, source: ByteSource) -> None:
        """Refuse a payload that reaches past the end of its data shard."""
        if entry.offset + entry.size > source.size:
            raise past_end(
                "payload",
                needed=entry.size,
                available=source.size - entry.offset,
                file_size=source.size,
                path=source.name,
                offset=entry.offset,
            )

    def _check_parts(self, parts: list[BundleEntry]) -> None:
        """Nothing is allocated for slices before the files are known to hold each of them, and all of them together."""
        sizes: dict[int, int] = {}
        for part in parts:
            source = self._source(part)
            self._check_place(part, source)
            sizes[part.shard_id] = source.size
        claimed, held = sum(part.size for part in parts), sum(sizes.values())
        if claimed > held:
            raise CorruptionError(f"tensor slices take {claimed} bytes together, their data shards have {held}")

    def _payload(self, entry: BundleEntry, selection: Selection, *, verify: bool) -> Array:
        """The box of a selection, of one entry without slices."""
        source = self._source(entry)
        whole = selection.is_whole or entry.data_type.is_string or verify
        with error_context(path=source.name):
            try:
                if whole:
                    values = self._decode(entry, self._bytes(source, entry, entry.offset, entry.size), verify=verify)
                    return values if selection.is_whole else selection.within_whole(values)
                if selection.is_empty:
                    check_rank(selection.box_shape)
                    return np.empty(selection.box_shape, entry.data_type.to_numpy())
                first, shape = selection.rows()
                itemsize = entry.data_type.itemsize
                payload = self._bytes(source, entry, entry.offset + first * itemsize, math.prod(shape) * itemsize)
                run = decode_dense(payload, entry.data_type, shape, big_endian=self._header.big_endian)
                return selection.within_rows(run)
            except CorruptionError as error:
                error.offset = entry.offset if error.offset is None else error.offset
                raise

    def _bytes(self, source: ByteSource, entry: BundleEntry, offset: int, length: int) -> ByteView:
        """Bytes of an entry's payload; a remote file shows only now whether it is there and how long it is."""
        try:
            return source.read(offset, length)
        except TruncatedError:
            self._check_place(entry, source)
            raise
        except CheckpointNotFoundError:
            raise self._missing_shard(entry.shard_id) from None

    def _decode(self, entry: BundleEntry, payload: ByteView, *, verify: bool) -> Array:
        big_endian = self._header.big_endian
        if not entry.data_type.is_string:
            entry.check_checksum(crc32c(payload) if verify else None)
            return decode_dense(payload, entry.data_type, entry.shape, big_endian=big_endian)
        try:
            values, computed = decode_strings(payload, entry.shape, self._limits, big_endian=big_endian, verify=verify)
        except CorruptionError as error:
            error.offset = entry.offset + (error.offset or 0)
            raise
        entry.check_checksum(computed)
        return values

    def _shard(self, shard_id: int) -> ByteSource:
        with self._lock:
            source = self._shards.get(shard_id)
        if source is not None:
            return source
        path = self.shard_path(shard_id)
        try:
            source = self._storage.open(path)
        except CheckpointNotFoundError:
            raise self._missing_shard(shard_id) from None
        with self._lock:
            return self._shards.setdefault(shard_id, source)

    def _missing_shard(self, shard_id: int) -> CheckpointNotFoundError:
        path = self.shard_path(shard_id)
        lost = self.missing_shards().get(path, ())
        return CheckpointNotFoundError(
            f"data shard {shard_id} of {self._header.num_shards} is missing; "
            f"{len(lost)} of {len(self._entries)} tensors cannot be read without it; "
            "put the file beside the index",
            path=path,
        )

    def _describe(self, name: str, entry: BundleEntry) -> TensorInfo:
        data_type = entry.data_type
        nbytes = entry.size
        place: tuple[int | None, int | None, int | None] = entry.shard_id, entry.offset, entry.crc32c
        if entry.slices:
            place = None, None, None
            with error_context(path=self._index.name, tensor=name):
                nbytes = sum(part.size for _, part in self._parts(name, entry))
        dtype = data_type.to_numpy()
        return TensorInfo(name, dtype, data_type.enum_name, entry.shape, nbytes, *place, entry.slices)


@contextlib.contextmanager
def _collecting(errors: list[CheckpointError], *, limits: bool = False) -> Iterator[None]:
    """Put an error of ours aside and go on after the block; one of a limit only with `limits`."""
    try:
        yield
    except CheckpointError as error:
        if isinstance(error, LimitExceededError) and not limits:
            raise
        # Without the frames it passed through, since there may be thousands.
        errors.append(error.with_traceback(None))
