"""The reader of V2 checkpoints.

Looking up one name reads the footer, the index block and one data block of the index.
Listing reads and checks every block of the index; listing only names decodes no entry.
Data shards are opened when their first tensor is read.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from .._threads import Lock, cached_property
from .._typing import Array, ByteSource, ByteView
from ..coding.crc32c import crc32c
from ..coding.names import decode_name, encode_name
from ..errors import (
    CheckpointError,
    CheckpointNotFoundError,
    ChecksumError,
    CorruptionError,
    TensorNotFoundError,
    TruncatedError,
    UnsupportedFeatureError,
    error_context,
    find_close_names,
    past_end,
    say_close_names,
)
from ..limits import DEFAULT_LIMITS, Limits
from ..storage.base import Storage
from ..tensors.dense import check_rank, decode_dense
from ..tensors.indexing import Index, Selection, gather, select
from ..tensors.info import TensorInfo
from ..tensors.reading import Payload
from ..tensors.slices import TensorSlice, check_cover
from ..tensors.strings import decode_strings
from . import naming
from .entry import BundleEntry
from .index import BundleIndex


class BundleReader:
    """An open tensor bundle; thread-safe."""

    format: str = "V2"

    def __init__(self, storage: Storage, prefix: str, limits: Limits = DEFAULT_LIMITS) -> None:
        """Open the index and read the header, but no data shard."""
        self._storage = storage
        self._prefix = prefix
        self._limits = limits
        self._lock = Lock()
        self._shards: dict[int, ByteSource] = {}
        self._index = storage.open(naming.index_name(prefix))
        self._entries = BundleIndex(self._index, limits)
        self._header = self._entries.header

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
        return naming.shard_name(self._prefix, shard_id, self._header.num_shards)

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
        return (self._describe(name, entry) for name, entry in self.entries())

    def missing_shards(self) -> dict[str, tuple[str, ...]]:
        """Return the paths of missing data shards, each with the names of the tensors that need it."""
        paths = [self.shard_path(shard_id) for shard_id in range(self._header.num_shards)]
        found = self._storage.find_files(paths)
        missing = {shard_id: path for shard_id, path in enumerate(paths) if path not in found}
        return {path: tuple(self._names_by_shard.get(shard_id, ())) for shard_id, path in missing.items()}

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
            self._check_parts([part for _, part in parts])
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
            source = self._open_payload(entry) if entry.data_type.is_readable else self._open_shard(entry.shard_id)
            with error_context(path=source.name):
                data = self._read_bytes(source, entry, entry.offset, entry.size)
                try:
                    entry.check_payload(data, self._limits, big_endian=self._header.big_endian)
                except ChecksumError:  # see `_read_whole`
                    data = source.read_again(entry.offset, entry.size)
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

    @contextlib.contextmanager
    def prefetch(self, names: Iterable[str], threads: int) -> Iterator[None]:
        """Fetch the payloads of these tensors in few, parallel requests, and hold them while the context is open."""
        ranges: dict[str, list[tuple[int, int]]] = {}
        with contextlib.suppress(CheckpointError):  # `read` raises the same error with the name of the tensor
            for name in names:
                entry = self._entries.find(encode_name(name))
                for _, part in self._find_parts(name, entry) if entry is not None else ():
                    ranges.setdefault(self.shard_path(part.shard_id), []).append((part.offset, part.size))
        with self._storage.prefetch(ranges, threads):
            yield

    def salvage(self) -> tuple[tuple[str, ...], list[CheckpointError]]:
        """List names despite damage in the index: return all names that can be found, in order, and the errors."""
        return self._entries.salvage()

    def close(self) -> None:
        """Close the files; arrays stay valid."""
        with self._lock:
            shards, self._shards = list(self._shards.values()), {}
        for source in (self._index, *shards):
            source.close()

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

    def _open_payload(self, entry: BundleEntry) -> ByteSource:
        """Check that type, shape and size of an entry without slices agree, and open its data shard."""
        data_type = entry.data_type
        if not data_type.is_readable:
            raise UnsupportedFeatureError(f"values of type {data_type.enum_name} cannot be read")
        if not data_type.is_string and entry.size != (expected := math.prod(entry.shape) * data_type.itemsize):
            raise CorruptionError(
                f"{data_type.name} of shape {list(entry.shape)} takes {expected} bytes, but the entry says {entry.size}"
            )
        if data_type.is_string and entry.size < (count := math.prod(entry.shape)):
            raise CorruptionError(f"{count} strings take at least {count} bytes, but the entry says {entry.size}")
        return self._open_shard(entry.shard_id)

    def _check_bounds(self, entry: BundleEntry, source: ByteSource) -> None:
        """Raise `TruncatedError` if a payload extends past the end of its data shard."""
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
        """Check that the data shards contain every slice, and all slices together, before memory is allocated."""
        sizes: dict[int, int] = {}
        for part in parts:
            source = self._open_payload(part)
            self._check_bounds(part, source)
            sizes[part.shard_id] = source.size
        claimed, available = sum(part.size for part in parts), sum(sizes.values())
        if claimed > available:
            raise CorruptionError(f"tensor slices take {claimed} bytes, but their data shards have only {available}")

    def _read_box(self, entry: BundleEntry, selection: Selection, *, verify: bool) -> Array:
        """Read the box of a selection from an entry without slices."""
        source = self._open_payload(entry)
        with error_context(path=source.name):
            try:
                if selection.is_whole or entry.data_type.is_string or verify:
                    values = self._read_whole(source, entry, verify=verify)
                    return values if selection.is_whole else selection.within_whole(values)
                if selection.is_empty:
                    check_rank(selection.box_shape)
                    return np.empty(selection.box_shape, entry.data_type.to_numpy())
                first, shape = selection.rows()
                itemsize = entry.data_type.itemsize
                payload = self._read_bytes(source, entry, entry.offset + first * itemsize, math.prod(shape) * itemsize)
                run = decode_dense(payload, entry.data_type, shape, big_endian=self._header.big_endian)
                return selection.within_rows(run)
            except CorruptionError as error:
                error.offset = entry.offset if error.offset is None else error.offset
                raise

    def _read_whole(self, source: ByteSource, entry: BundleEntry, *, verify: bool) -> Array:
        """Read and decode the whole payload of an entry without slices."""
        payload = self._read_bytes(source, entry, entry.offset, entry.size)
        try:
            return self._decode(entry, payload, verify=verify)
        except ChecksumError:
            # The file may be fine: programs can write to an array that we returned, and so to our view of the file,
            # although the array is marked as read-only.
            payload = source.read_again(entry.offset, entry.size)
        return self._decode(entry, payload, verify=verify)

    def _read_bytes(self, source: ByteSource, entry: BundleEntry, offset: int, length: int) -> ByteView:
        """Read bytes of an entry's payload; only now it is known whether a remote file exists, and its size."""
        try:
            return source.read(offset, length)
        except TruncatedError:
            self._check_bounds(entry, source)
            raise
        except CheckpointNotFoundError:
            raise self._missing_shard_error(entry.shard_id) from None

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

    def _open_shard(self, shard_id: int) -> ByteSource:
        with self._lock:
            source = self._shards.get(shard_id)
        if source is not None:
            return source
        path = self.shard_path(shard_id)
        try:
            source = self._storage.open(path)
        except CheckpointNotFoundError:
            raise self._missing_shard_error(shard_id) from None
        with self._lock:
            return self._shards.setdefault(shard_id, source)

    @cached_property
    def _names_by_shard(self) -> Mapping[int, list[str]]:
        """The tensors that need each data shard; computed only if one is missing."""
        names: dict[int, list[str]] = {}
        for name, entry in self.entries():
            for shard_id in sorted({part.shard_id for _, part in self._find_parts(name, entry)}):
                names.setdefault(shard_id, []).append(name)
        return names

    def _missing_shard_error(self, shard_id: int) -> CheckpointNotFoundError:
        lost = self._names_by_shard.get(shard_id, ())
        return CheckpointNotFoundError(
            f"data shard {shard_id} of {self._header.num_shards} is missing; "
            f"{len(lost)} of {self._entries.count} tensors cannot be read without it; "
            "put the file next to the index",
            path=self.shard_path(shard_id),
        )

    def _describe(self, name: str, entry: BundleEntry) -> TensorInfo:
        data_type = entry.data_type
        nbytes = entry.size
        location: tuple[int | None, int | None, int | None] = entry.shard_id, entry.offset, entry.crc32c
        if entry.slices:
            location = None, None, None
            with error_context(path=self._index.name, tensor=name):
                nbytes = sum(part.size for _, part in self._find_parts(name, entry))
        dtype = data_type.to_numpy()
        return TensorInfo(name, dtype, data_type.enum_name, entry.shape, nbytes, *location, entry.slices)
