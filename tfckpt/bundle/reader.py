"""The reader of V2 checkpoints.

Looking up one name reads the footer, the index block and one data block of the index.
Listing reads and checks every block of the index; listing only names decodes no entry.
Data shards are opened when their first tensor is read.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from .._typing import Array, ByteSource, ByteView
from ..coding.crc32c import crc32c
from ..coding.names import decode_name, encode_name
from ..errors import (
    CheckpointError,
    ChecksumError,
    CorruptionError,
    TensorNotFoundError,
    error_context,
    find_close_names,
    say_close_names,
)
from ..limits import DEFAULT_LIMITS, Limits
from ..storage.base import Range, Storage, batch_ranges
from ..tensors.dense import check_rank, decode_dense
from ..tensors.indexing import Index, Selection, gather, select
from ..tensors.info import TensorInfo, make_info
from ..tensors.reading import Payload
from ..tensors.slices import TensorSlice, check_cover
from ..tensors.strings import decode_strings
from . import naming
from .entry import BundleEntry
from .index import BundleIndex
from .shards import Explain, Shards
from .slabs import SLAB_BYTES, Slab, iterate_slabs


class BundleReader:
    """An open tensor bundle; thread-safe."""

    format: str = "V2"

    def __init__(
        self, storage: Storage, prefix: str, limits: Limits = DEFAULT_LIMITS, *, explain: Explain | None = None
    ) -> None:
        """Open the index and read the header, but no data shard.

        `explain` says why a data shard is missing or too short, for errors.
        """
        self._storage = storage
        self._prefix = prefix
        self._limits = limits
        self._index = storage.open(naming.index_name(prefix))
        self._entries = BundleIndex(self._index, limits)
        self._header = self._entries.header
        self._shards = Shards(storage, prefix, self._entries, self._index.name, explain)

    @property
    def num_shards(self) -> int:
        """The number of data shards according to the header."""
        return self._header.num_shards

    @property
    def producer(self) -> int:
        """The version of the format that the writer declared."""
        return self._header.producer

    @property
    def big_endian(self) -> bool:
        """Whether numbers are stored in big-endian byte order."""
        return self._header.big_endian

    @property
    def has_checksums(self) -> bool:
        """Always True: every payload has one."""
        return True

    @property
    def can_copy(self) -> bool:
        """Whether payloads can be copied unchanged to a new checkpoint, which is always little-endian."""
        return not self._header.big_endian

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the index file and of all data shards, including missing ones."""
        return (self._index.name, *map(self.shard_path, range(self._header.num_shards)))

    def shard_path(self, shard_id: int) -> str:
        """Return the path of a data shard."""
        return self._shards.path(shard_id)

    def names(self) -> tuple[str, ...]:
        """Return the names of all tensors, sorted by their bytes; slices are not listed."""
        return self._entries.names if self._entries.is_kept else tuple(self._entries.iterate_names())

    def iterate_names(self) -> Iterator[str]:
        """Yield the names of all tensors like `names`, one at a time if there are very many.

        Keys and blocks are checked; entries are not decoded, so a damaged one is an error only when it is used.
        """
        return self._entries.iterate_names()

    def __contains__(self, name: str) -> bool:
        """Return whether there is a tensor of this name."""
        return self._entries.find(encode_name(name)) is not None

    def entries(self) -> Iterator[tuple[str, BundleEntry]]:
        """Yield the name and the entry of every tensor, in the order of `names`."""
        return ((decode_name(key), entry) for key, entry in self._entries.iterate_entries())

    def info(self, name: str) -> TensorInfo:
        """Describe a tensor from its entry in the index; `TensorNotFoundError` if there is none."""
        return self._describe(name, self._find_entry(name))

    def infos(self) -> Iterator[TensorInfo]:
        """Describe all tensors from the index, in the order of `names`."""
        last = None
        for key, entry in self._entries.iterate_entries():
            data_type, shape, shard_id, offset, size, checksum, slices = entry
            if slices:
                yield self._describe(decode_name(key), entry)
                continue
            if data_type is not last:  # almost all tensors of a network have the same
                last, dtype, tf_dtype = data_type, data_type.to_numpy_or_void(), data_type.enum_name
            yield make_info(decode_name(key), dtype, tf_dtype, shape, size, shard_id, offset, checksum, ())

    def missing_shards(self) -> dict[str, tuple[str, ...]]:
        """Return the paths of missing data shards, each with the names of the tensors that need it."""
        return self._shards.find_missing()

    def read(self, name: str, *, verify: bool = True, index: Index = None) -> Array:
        """Return the tensor, or the part that `index` selects; a read-only view of the file if possible, else a copy.

        With `verify`, every payload that contains a selected element is read completely, since a checksum covers a
        whole payload. Otherwise only the contiguous rows that contain selected elements are read.
        Strings are always read completely.
        """
        entry = self._find_entry(name)
        selection = select(entry.shape, index)
        with error_context(path=self._index.name, tensor=name):
            if not entry.slices:
                box = self._read_box(entry, selection, verify=verify)
                return box if index is None else selection.finish(box)
            check_cover(entry.slices, entry.shape)
            parts = [(piece, part) for piece, part in self._find_parts(name, entry) if selection.overlap(piece)]
            self._shards.check_parts([part for _, part in parts])
            dtype = entry.data_type.to_numpy()
            return gather(selection, dtype, parts, lambda part, inside: self._read_box(part, inside, verify=verify))

    def payloads(self, name: str) -> list[Payload]:
        """Return where a tensor is stored, one payload per slice."""
        entry = self._find_entry(name)
        with error_context(path=self._index.name, tensor=name):
            return [
                Payload(part.data_type, entry.shape, piece, part.shard_id, part.offset, part.size, part.crc32c)
                for piece, part in self._find_parts(name, entry)
            ]

    def read_payload(self, name: str, payload: Payload) -> ByteView:
        """Return the bytes of one of a tensor's payloads after verifying their checksum.

        The bytes are not decoded, so this also works for types that cannot be read, such as variants.
        """
        data_type, shape, piece, shard_id, offset, nbytes, checksum = payload
        entry = BundleEntry(data_type, piece.shape(shape), shard_id, offset, nbytes, checksum, slices=())
        with error_context(path=self._index.name, tensor=name):
            source = (
                self._shards.open_payload(entry) if entry.data_type.is_readable else self._shards.open(entry.shard_id)
            )
            with error_context(path=source.name):
                data = self._shards.read(source, entry, entry.offset, entry.size)
                try:
                    entry.check_payload(data, self._limits, big_endian=self._header.big_endian)
                except ChecksumError:  # see `_read_whole`
                    data = source.read_again(entry.offset, entry.size)
                    with self._shards.confirm_damage(entry):
                        entry.check_payload(data, self._limits, big_endian=self._header.big_endian)
                return data

    def shard_sizes(self) -> dict[str, int]:
        """Return the size that each data shard needs for its tensors, in bytes by path."""
        needed = [0] * self._header.num_shards
        for name, entry in self.entries():
            with error_context(path=self._index.name, tensor=name):
                for _, part in self._find_parts(name, entry):
                    needed[part.shard_id] = max(needed[part.shard_id], part.offset + part.size)
        return {self.shard_path(shard_id): nbytes for shard_id, nbytes in enumerate(needed)}

    def iterate_payload(self, name: str, payload: Payload) -> Iterator[ByteView]:
        """Yield the bytes of `read_payload`, those of a large remote payload in pieces; see `TensorReader`."""
        data_type, shape, piece, shard_id, offset, nbytes, checksum = payload
        if not self._shards.is_large(data_type, nbytes):
            yield self.read_payload(name, payload)
            return
        entry = BundleEntry(data_type, piece.shape(shape), shard_id, offset, nbytes, checksum, slices=())
        with error_context(path=self._index.name, tensor=name):
            yield from self._shards.iterate_pieces(entry)

    def iterate_values(self, name: str) -> Iterator[Array]:
        """Yield the elements of a tensor in C order, those of a large remote tensor in pieces; see `TensorReader`."""
        entry = self._find_entry(name)
        with error_context(path=self._index.name, tensor=name):
            parts = self._find_parts(name, entry)
            if not self._shards.is_large(entry.data_type, sum(part.size for _, part in parts)):
                yield self.read(name).reshape(-1)
                return
            check_rank(entry.shape)
            if entry.slices:
                check_cover(entry.slices, entry.shape)
                self._shards.check_parts([part for _, part in parts])
                yield from self._iterate_slabs(entry, parts)
                return
            for data in self._shards.iterate_pieces(entry):
                yield self._decode_run(entry, data)

    def _iterate_slabs(self, entry: BundleEntry, parts: Sequence[tuple[TensorSlice, BundleEntry]]) -> Iterator[Array]:
        """Yield a partitioned tensor slab by slab; the checksum of a slice is compared before its last slab."""
        readers = [self._shards.iterate_ranges(part) for _, part in parts]
        for reader in readers:
            next(reader)
        for slab in _list_slabs(entry, parts):
            values = np.empty(slab.shape, entry.data_type.to_numpy())
            for run in slab.runs:
                data = readers[run.number].send(run.count * entry.data_type.itemsize)
                values[run.target] = self._decode_run(entry, data).reshape(run.shape)
            yield values.reshape(-1)

    def _decode_run(self, entry: BundleEntry, data: ByteView) -> Array:
        count = len(data) // entry.data_type.itemsize
        return decode_dense(data, entry.data_type, (count,), big_endian=self._header.big_endian)

    def read_ahead(self, wanted: Iterable[str | Payload], connections: int) -> contextlib.AbstractContextManager[None]:
        """While the context lasts, fetch tensors or payloads that will be read in this order; see `TensorReader`."""
        return self._storage.read_ahead(batch_ranges(self._list_ranges(wanted), self._storage.piece_bytes), connections)

    def _list_ranges(self, wanted: Iterable[str | Payload]) -> Iterator[Range]:
        for item in wanted:
            if isinstance(item, Payload):
                yield Range(self.shard_path(item.shard_id), item.offset, item.nbytes)
                continue
            with contextlib.suppress(CheckpointError):  # the read raises the same error
                entry = self._find_entry(item)
                parts = self._find_parts(item, entry)
                if not entry.slices or not self._shards.is_large(entry.data_type, sum(part.size for _, part in parts)):
                    for _, part in parts:
                        yield Range(self.shard_path(part.shard_id), part.offset, part.size)
                    continue
                check_cover(entry.slices, entry.shape)
                for slab in _list_slabs(entry, parts):
                    for run in slab.runs:
                        part, itemsize = parts[run.number][1], entry.data_type.itemsize
                        offset, nbytes = part.offset + run.first * itemsize, run.count * itemsize
                        yield Range(self.shard_path(part.shard_id), offset, nbytes)

    def salvage(self) -> tuple[tuple[str, ...], list[CheckpointError]]:
        """List names despite damage in the index: return all names that can be found, in order, and the errors."""
        return self._entries.salvage()

    def close(self) -> None:
        """Close the files; arrays stay valid."""
        self._shards.close()
        self._index.close()

    def _find_entry(self, name: str) -> BundleEntry:
        entry = self._entries.find(encode_name(name))
        if entry is None:
            close = find_close_names(name, self.names())
            hint = say_close_names(close)
            raise TensorNotFoundError(f"not in the checkpoint{hint}", close_names=close, path=self._prefix, tensor=name)
        return entry

    def _find_parts(self, name: str, entry: BundleEntry) -> list[tuple[TensorSlice, BundleEntry]]:
        """Return the slices of a tensor with their entries; a tensor that is not partitioned is one slice."""
        return self._entries.find_parts(encode_name(name) or b"", entry)

    def _read_box(self, entry: BundleEntry, selection: Selection, *, verify: bool) -> Array:
        """Read the box of a selection from an entry without slices."""
        source = self._shards.open_payload(entry)
        with error_context(path=source.name), self._shards.compare_versions(source, verify=verify):
            try:
                if selection.is_whole or entry.data_type.is_string or verify:
                    values = self._read_whole(source, entry, verify=verify)
                    return values if selection.is_whole else selection.within_whole(values)
                if selection.is_empty:
                    check_rank(selection.box_shape)
                    return np.empty(selection.box_shape, entry.data_type.to_numpy())
                first, shape = selection.rows()
                itemsize = entry.data_type.itemsize
                payload = self._shards.read(source, entry, entry.offset + first * itemsize, math.prod(shape) * itemsize)
                run = decode_dense(payload, entry.data_type, shape, big_endian=self._header.big_endian)
                return selection.within_rows(run)
            except CorruptionError as error:
                error.offset = entry.offset if error.offset is None else error.offset
                raise

    def _read_whole(self, source: ByteSource, entry: BundleEntry, *, verify: bool) -> Array:
        """Read and decode the whole payload of an entry without slices."""
        payload = self._shards.read(source, entry, entry.offset, entry.size)
        try:
            return self._decode(entry, payload, verify=verify)
        except ChecksumError:
            # The file may be fine: programs can write to an array that we returned, and so to our view of the file,
            # although the array is marked as read-only.
            payload = source.read_again(entry.offset, entry.size)
        with self._shards.confirm_damage(entry):
            return self._decode(entry, payload, verify=verify)

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

    def _describe(self, name: str, entry: BundleEntry) -> TensorInfo:
        data_type = entry.data_type
        nbytes = entry.size
        location: tuple[int | None, int | None, int | None] = entry.shard_id, entry.offset, entry.crc32c
        if entry.slices:
            location = None, None, None
            with error_context(path=self._index.name, tensor=name):
                nbytes = sum(part.size for _, part in self._find_parts(name, entry))
        dtype = data_type.to_numpy_or_void()
        return make_info(name, dtype, data_type.enum_name, entry.shape, nbytes, *location, entry.slices)


def _list_slabs(entry: BundleEntry, parts: Sequence[tuple[TensorSlice, BundleEntry]]) -> Iterator[Slab]:
    """Return the order in which a large partitioned tensor is read."""
    boxes = [piece.resolve(entry.shape) for piece, _ in parts]
    return iterate_slabs(entry.shape, boxes, entry.data_type.itemsize, SLAB_BYTES)
