"""The data shards of a bundle: opened when their first tensor is read, and read in whole payloads or in pieces."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TypeAlias

from .._threads import Lock, cached_property
from .._typing import ByteSource, ByteView
from ..coding.crc32c import crc32c
from ..coding.names import decode_name
from ..errors import (
    CheckpointNotFoundError,
    ChecksumError,
    CorruptionError,
    TruncatedError,
    UnsupportedFeatureError,
    error_context,
    past_end,
)
from ..storage.base import Storage
from ..tensors.dtypes import DataType
from . import naming
from .entry import BundleEntry
from .index import BundleIndex

#: Returns why a file of this path is missing or too short, and what to do; nothing if the folder does not show it.
Explain: TypeAlias = Callable[[Storage, str], str]


class Shards:
    """The data shards of one bundle; thread-safe."""

    def __init__(
        self, storage: Storage, prefix: str, index: BundleIndex, index_path: str, explain: Explain | None
    ) -> None:
        """Open none of them; `explain` is asked at most once for each shard that cannot be read."""
        self._storage = storage
        self._prefix = prefix
        self._index = index
        self._index_path = index_path
        self._num_shards = index.header.num_shards
        self._lock = Lock()
        self._sources: dict[int, ByteSource] = {}
        self._explain = explain
        self._explained: dict[str, str] = {}

    def path(self, shard_id: int) -> str:
        """Return the path of a data shard."""
        return naming.shard_name(self._prefix, shard_id, self._num_shards)

    def find_missing(self) -> dict[str, tuple[str, ...]]:
        """Return the paths of missing data shards, each with the names of the tensors that need it."""
        paths = [self.path(shard_id) for shard_id in range(self._num_shards)]
        found = self._storage.find_files(paths)
        missing = {shard_id: path for shard_id, path in enumerate(paths) if path not in found}
        return {path: tuple(self._names_by_shard.get(shard_id, ())) for shard_id, path in missing.items()}

    def open(self, shard_id: int) -> ByteSource:
        """Open a data shard, or return it if it is open; `CheckpointNotFoundError` if it is missing."""
        with self._lock:
            source = self._sources.get(shard_id)
        if source is not None:
            return source
        path = self.path(shard_id)
        try:
            source = self._storage.open(path)
        except CheckpointNotFoundError:
            raise self._missing_shard_error(shard_id) from None
        with self._lock:
            return self._sources.setdefault(shard_id, source)

    def open_payload(self, entry: BundleEntry) -> ByteSource:
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
        return self.open(entry.shard_id)

    def check_bounds(self, entry: BundleEntry, source: ByteSource) -> None:
        """Raise `TruncatedError` if a payload extends past the end of its data shard."""
        if entry.offset + entry.size > source.size:
            error = past_end(
                "payload",
                needed=entry.size,
                available=source.size - entry.offset,
                file_size=source.size,
                path=source.name,
                offset=entry.offset,
            )
            explanation = self._find_explanation(source.name)
            if explanation:
                error.message += f"; {explanation}"
            raise error

    def check_parts(self, parts: list[BundleEntry]) -> None:
        """Check that the data shards contain every slice, and all slices together, before memory is allocated."""
        sizes: dict[int, int] = {}
        for part in parts:
            source = self.open_payload(part)
            self.check_bounds(part, source)
            sizes[part.shard_id] = source.size
        claimed, available = sum(part.size for part in parts), sum(sizes.values())
        if claimed > available:
            raise CorruptionError(f"tensor slices take {claimed} bytes, but their data shards have only {available}")

    def read(self, source: ByteSource, entry: BundleEntry, offset: int, length: int) -> ByteView:
        """Read bytes of an entry's payload; only now it is known whether a remote file exists, and its size."""
        try:
            return source.read(offset, length)
        except TruncatedError:
            self.check_bounds(entry, source)
            raise
        except CheckpointNotFoundError:
            raise self._missing_shard_error(entry.shard_id) from None

    def is_large(self, data_type: DataType, nbytes: int) -> bool:
        """Return whether a tensor or payload is read in pieces: only a remote one takes memory of its size."""
        is_dense = data_type.is_readable and not data_type.is_string
        return self._storage.is_remote and is_dense and nbytes > self._storage.piece_bytes

    def iterate_pieces(self, entry: BundleEntry) -> Iterator[ByteView]:
        """Yield the payload of an entry in pieces of whole elements; compare the checksum before the last one."""
        source = self.open_payload(entry)
        computed = 0
        with error_context(path=source.name):
            self.check_bounds(entry, source)
            piece_bytes = self._storage.piece_bytes
            for start in range(0, entry.size, piece_bytes):
                length = min(piece_bytes, entry.size - start)
                data = self.read(source, entry, entry.offset + start, length)
                computed = crc32c(data, computed)
                if start + length == entry.size:
                    with self.confirm_damage(entry):
                        entry.check_checksum(computed)
                yield data

    def iterate_ranges(self, entry: BundleEntry) -> Generator[ByteView, int, None]:
        """Yield runs of the payload of an entry in order, of as many bytes as are sent; begins with an empty one.

        The checksum is compared before the last run.
        """
        source = self.open_payload(entry)
        computed, start = 0, 0
        data: ByteView = memoryview(b"")
        while start < entry.size:
            length = yield data
            with error_context(path=source.name):
                data = self.read(source, entry, entry.offset + start, length)
                start += length
                computed = crc32c(data, computed)
                if start == entry.size:
                    with self.confirm_damage(entry):
                        entry.check_checksum(computed)
        yield data

    def compare_versions(self, source: ByteSource, *, verify: bool) -> contextlib.AbstractContextManager[None]:
        """Return a context that compares versions of the file if no checksum is compared."""
        return contextlib.nullcontext() if verify else self._storage.same_version(source.name)

    @contextlib.contextmanager
    def confirm_damage(self, entry: BundleEntry) -> Iterator[None]:
        """Before a `ChecksumError` leaves the context, raise `StorageError` if the files were replaced meanwhile."""
        try:
            yield
        except ChecksumError:
            self._storage.confirm(self._index_path)
            self._storage.confirm(self.path(entry.shard_id))
            raise

    def close(self) -> None:
        """Close the files; arrays stay valid."""
        with self._lock:
            sources, self._sources = list(self._sources.values()), {}
        for source in sources:
            source.close()

    @cached_property
    def _names_by_shard(self) -> Mapping[int, list[str]]:
        """The tensors that need each data shard; computed only if one is missing."""
        names: dict[int, list[str]] = {}
        for key, entry in self._index.iterate_entries():
            for shard_id in sorted({part.shard_id for _, part in self._index.find_parts(key, entry)}):
                names.setdefault(shard_id, []).append(decode_name(key))
        return names

    def _missing_shard_error(self, shard_id: int) -> CheckpointNotFoundError:
        lost = self._names_by_shard.get(shard_id, ())
        path = self.path(shard_id)
        return CheckpointNotFoundError(
            f"data shard {shard_id} of {self._num_shards} is missing; "
            f"{len(lost)} of {self._index.count} tensors cannot be read without it; "
            f"{self._find_explanation(path) or 'put the file next to the index'}",
            path=path,
        )

    def _find_explanation(self, path: str) -> str:
        if self._explain is None:
            return ""
        explanation = self._explained.get(path)
        if explanation is None:
            explanation = self._explained[path] = self._explain(self._storage, path)
        return explanation
