"""The writer of V2 checkpoints: writes each payload to a data shard immediately, and the index at the end.

Source: TensorFlow 2.21 `util/tensor_bundle/tensor_bundle.cc`.
For the same tensors in the same order, all files are byte for byte those of TensorFlow.
Memory use is one payload, or a piece of one that arrives in pieces, plus all entries.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .._typing import ByteView
from ..coding.crc32c import crc32c
from ..coding.names import decode_name, encode_name
from ..errors import CorruptionError, pluralize, printable
from ..files.atomic import PendingFile, writing
from ..sstable.writer import TableWriter
from ..tensors.dense import check_shape
from ..tensors.dtypes import DataType
from ..tensors.slices import TensorSlice, check_cover
from . import naming, publishing
from .entry import VERSION, BundleEntry, BundleHeader

#: A name must fit into a block of the index and into memory; TensorFlow's own names have about a hundred bytes.
MAX_NAME_BYTES = 1 << 20
#: Payloads are checksummed and written in pieces of this size, so that a piece is still in the CPU cache when written.
_PIECE_BYTES = 1 << 20
#: Data shards open at once; each has a buffer, and the operating system limits the number of open files.
_OPEN_SHARDS = 16


class Pieces(NamedTuple):
    """A payload of `nbytes` bytes that arrives in pieces."""

    nbytes: int
    pieces: Iterable[ByteView]


@dataclasses.dataclass(slots=True)
class _Partitioned:
    """A partitioned tensor: its type, its full shape, and the slices added so far, each with its shard."""

    data_type: DataType
    shape: tuple[int, ...]
    pieces: list[tuple[int, TensorSlice]]


class BundleWriter:
    """A bundle being written; no file has its final name before `finish`."""

    def __init__(
        self, prefix: str, *, shards: int = 1, alignment: int = 1, durable: bool = True, overwrite: bool = False
    ) -> None:
        """Lock the prefix and open the first data shard; the others are created when they are needed.

        Every payload is padded with zeros to a multiple of `alignment` bytes.
        With `durable=False`, `finish` does not wait until the files are on disk.
        """
        if shards < 1:
            raise ValueError(f"a checkpoint has at least one data shard, not {shards}")
        if alignment < 1:
            raise ValueError(f"alignment must be at least 1 byte, not {alignment}")
        self._prefix = prefix
        self._alignment = alignment
        self._durable = durable
        self._overwrite = overwrite
        self._entries: dict[bytes, BundleEntry] = {}
        self._partitioned: dict[bytes, _Partitioned] = {}
        self._offsets = [0] * shards
        #: The data shards that were created, by number.
        self._files: dict[int, PendingFile] = {}
        self._index: PendingFile | None = None
        #: Whether the caller chose the shard of some payload.
        self._has_chosen = False
        #: Ids of the open data shards; the most recently used one is last.
        self._open_shards: list[int] = []
        self._is_open = True
        publishing.check_prefix(prefix)
        self._lock = publishing.PrefixLock(prefix)
        try:
            publishing.check_free(prefix, shards, overwrite=overwrite)
            if self._lock.is_exclusive:
                publishing.remove_leftovers(prefix)
            self._activate(0)
        except BaseException:
            self.abort()
            raise

    @property
    def is_open(self) -> bool:
        """Whether tensors can still be added."""
        return self._is_open

    def check_shards(self) -> None:
        """Raise `ValueError` if shards are empty because there are too many, not because the caller chose others."""
        if not self._has_chosen:
            check_shard_count(len(self._offsets), len(self._entries))

    def check_name(self, name: str) -> bytes:
        """Return the key for a new tensor; `ValueError` for an invalid name or one already used."""
        key = _encode_key(name)
        if key in self._entries or key in self._partitioned:
            raise ValueError(f"the tensor {printable(name)!r} was already added")
        return key

    def add(
        self,
        name: str,
        data_type: DataType,
        shape: Sequence[int],
        payload: ByteView | bytes | Pieces,
        *,
        checksum: int | None = None,
        shard: int | None = None,
    ) -> None:
        """Write a tensor's payload.

        `checksum` is the tensor's unmasked crc32c, computed from the payload if None. It is required if it is not the
        crc32c of the payload, as for strings.
        Without `shard`, the payload is written to the smallest data shard.
        """
        key = self.check_name(name)
        self._add(key, data_type, shape, payload, checksum=checksum, shard=shard)

    def add_slice(
        self,
        name: str,
        data_type: DataType,
        full_shape: Sequence[int],
        piece: TensorSlice,
        payload: ByteView | bytes | Pieces,
        *,
        checksum: int | None = None,
        shard: int | None = None,
    ) -> None:
        """Write one slice of a tensor; a slice that is the whole tensor becomes an ordinary tensor, as in TensorFlow.

        Slices can be added in any order, with other tensors in between; `finish` requires all of them.
        """
        full_shape = tuple(full_shape)
        try:
            shape = piece.shape(full_shape)
        except CorruptionError as error:
            raise ValueError(f"{printable(name)!r}: {error.message}") from None
        if shape == full_shape:
            self.add(name, data_type, shape, payload, checksum=checksum, shard=shard)
            return
        key = _encode_key(name)
        tensor = self._partitioned.get(key)
        if tensor is None:
            self.check_name(name)
            tensor = _Partitioned(data_type, full_shape, [])
        if (tensor.data_type, tensor.shape) != (data_type, full_shape):
            raise ValueError(
                f"slice {piece} of {printable(name)!r} belongs to {data_type.name} {list(full_shape)}, "
                f"but earlier slices belong to {tensor.data_type.name} {list(tensor.shape)}"
            )
        slice_key = piece.key(key)
        if slice_key in self._entries:
            raise ValueError(f"slice {piece} of {printable(name)!r} was already added")
        shard = self._add(slice_key, data_type, shape, payload, checksum=checksum, shard=shard)
        tensor.pieces.append((shard, piece))
        self._partitioned[key] = tensor

    def finish(self) -> None:
        """Write the index and publish all files; `ValueError` if slices of a tensor are missing or overlap."""
        self._check_open()
        try:
            parents = {key: self._make_parent(key, tensor) for key, tensor in self._partitioned.items()}
            entries = self._entries | parents
            count = len(self._offsets)
            publishing.check_free(self._prefix, count, overwrite=self._overwrite)
            shards = [self._files.get(shard_id) or self._activate(shard_id) for shard_id in range(count)]
            self._index = index = PendingFile(naming.index_name(self._prefix), durable=self._durable)
            with writing(index.path):
                table = TableWriter(index.file.write)
                table.add(b"", BundleHeader(count, False, VERSION).encode())
                for key in sorted(entries):
                    table.add(key, entries[key].encode())
                table.finish()
            publishing.publish(self._prefix, shards, index, overwrite=self._overwrite, durable=self._durable)
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove the temporary files and release the lock; has no effect after `finish`."""
        self._is_open = False
        for file in self._files.values():
            file.discard()
        if self._index is not None:
            self._index.discard()
        self._lock.release()

    def _add(
        self,
        key: bytes,
        data_type: DataType,
        shape: Sequence[int],
        payload: ByteView | bytes | Pieces,
        *,
        checksum: int | None,
        shard: int | None,
    ) -> int:
        """Write a payload and record its entry; return the data shard used."""
        self._check_open()
        if not isinstance(payload, Pieces):
            payload = Pieces(len(payload), (memoryview(payload),))
        size = payload.nbytes
        expected = check_shape(shape) * data_type.itemsize
        if data_type.itemsize and size != expected:
            raise ValueError(f"{data_type.name} of shape {list(shape)} takes {expected} bytes, not {size}")
        if shard is None:
            shard = self._offsets.index(min(self._offsets))
        elif 0 <= shard < len(self._offsets):
            self._has_chosen = True
        else:
            raise ValueError(f"there is no data shard {shard}: the checkpoint has {len(self._offsets)}")
        offset = self._offsets[shard]
        try:
            computed = self._write(self._activate(shard), payload, checksum)
        except BaseException:
            self.abort()  # part of the payload may be in the file
            raise
        self._offsets[shard] += size + -size % self._alignment
        self._entries[key] = BundleEntry(data_type, tuple(shape), shard, offset, size, computed, ())
        return shard

    def _activate(self, shard: int) -> PendingFile:
        """Return the open file of a data shard; if too many are open, close the least recently used one."""
        if shard in self._open_shards:
            self._open_shards.remove(shard)
        elif len(self._open_shards) == _OPEN_SHARDS:
            self._files[self._open_shards.pop(0)].suspend()
        file = self._files.get(shard)
        if file is None:
            path = naming.shard_name(self._prefix, shard, len(self._offsets))
            file = self._files[shard] = PendingFile(path, durable=self._durable)
        else:
            file.resume()
        self._open_shards.append(shard)
        return file

    def _write(self, file: PendingFile, payload: Pieces, checksum: int | None) -> int:
        computed = written = 0
        with writing(file.path):
            for data in payload.pieces:
                written += len(data)
                for start in range(0, len(data), _PIECE_BYTES):
                    piece = data[start : start + _PIECE_BYTES]
                    if checksum is None:
                        computed = crc32c(piece, computed)
                    file.file.write(piece)
            if written != payload.nbytes:
                raise ValueError(f"payload of {written} bytes, expected {payload.nbytes}")
            file.file.write(bytes(-written % self._alignment))
        return computed if checksum is None else checksum

    def _make_parent(self, key: bytes, tensor: _Partitioned) -> BundleEntry:
        # TensorFlow merges the bundles of single shards in their order.
        pieces = sorted(tensor.pieces, key=lambda item: item[0])
        slices = tuple(piece for _, piece in pieces)
        try:
            check_cover(slices, tensor.shape)
        except CorruptionError as error:
            raise ValueError(f"{printable(decode_name(key))!r}: {error.message}") from None
        return BundleEntry(tensor.data_type, tensor.shape, pieces[0][0], 0, 0, 0, slices)

    def _check_open(self) -> None:
        if not self._is_open:
            raise ValueError(f"the writer of {self._prefix} is closed")


def check_shard_count(shards: int, payloads: int) -> None:
    """Raise `ValueError` for more data shards than payloads, which is probably a typing error."""
    if shards > max(payloads, 1):
        raise ValueError(f"{shards:,} data shards for {pluralize(payloads, 'tensor')}; use at most one per tensor")


def _encode_key(name: str) -> bytes:
    """Return the key of a name; `ValueError` if it is empty, too long or not encodable."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a tensor must be a str, not {type(name).__name__}")
    key = encode_name(name)
    if key is None:
        raise ValueError(f"the name {printable(name)!r} cannot be encoded: it contains surrogates")
    if not key:
        raise ValueError("the name of a tensor must not be empty: the empty key is that of the header")
    if len(key) > MAX_NAME_BYTES:
        raise ValueError(f"a name of {len(key)} bytes is too long; at most {MAX_NAME_BYTES} bytes are allowed")
    return key
