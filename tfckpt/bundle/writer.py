"""Writing a V2 checkpoint: payloads to the data shards as they come, the index when the last is there.

Source of the bytes: TensorFlow 2.21 `util/tensor_bundle/tensor_bundle.cc`.
Given the same tensors in the same order, data shards and index are those of TensorFlow's own writer.
Memory is that of one payload and of the entries.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from .._typing import ByteView
from ..coding.crc32c import crc32c
from ..coding.names import decode_name, encode_name
from ..errors import CorruptionError, printable
from ..files.atomic import PendingFile, writing
from ..sstable.writer import TableWriter
from ..tensors.dense import check_shape
from ..tensors.dtypes import DataType
from ..tensors.slices import TensorSlice, check_cover
from . import naming, publishing
from .entry import VERSION, BundleEntry, BundleHeader

#: A name is kept whole in a block of the index and in memory; TensorFlow's own names have some hundred bytes.
MAX_NAME_BYTES = 1 << 20
#: Payloads are checksummed and written in pieces of this many bytes, so that the second step finds them in the cache.
_PIECE_BYTES = 1 << 20
#: Data shards that are open at once; each has a buffer, and the system keeps only so many files open.
_OPEN_SHARDS = 16


@dataclasses.dataclass(slots=True)
class _Partitioned:
    """A tensor that comes in slices: what all of them share, and each slice with its shard."""

    data_type: DataType
    shape: tuple[int, ...]
    pieces: list[tuple[int, TensorSlice]]


class BundleWriter:
    """A bundle while it is being written; nothing stands under the prefix before `finish`."""

    def __init__(
        self, prefix: str, *, shards: int = 1, alignment: int = 1, durable: bool = True, overwrite: bool = False
    ) -> None:
        """Take the prefix's lock and open the data shards.

        After every payload the shard is filled with zeros up to a multiple of `alignment` bytes.
        Not `durable`, it is left to the system when the bytes reach the disk.
        """
        if shards < 1:
            raise ValueError(f"a checkpoint has at least one data shard, not {shards}")
        if alignment < 1:
            raise ValueError(f"payloads begin at multiples of at least 1 byte, not {alignment}")
        self._prefix = prefix
        self._alignment = alignment
        self._durable = durable
        self._overwrite = overwrite
        self._entries: dict[bytes, BundleEntry] = {}
        self._partitioned: dict[bytes, _Partitioned] = {}
        self._offsets = [0] * shards
        self._files: list[PendingFile] = []
        #: Numbers of the data shards that are open, the one that was written to last at the end.
        self._open_shards: list[int] = []
        self._is_open = True
        publishing.check_prefix(prefix)
        self._lock = publishing.PrefixLock(prefix)
        try:
            publishing.check_free(prefix, shards, overwrite=overwrite)
            if self._lock.is_exclusive:
                publishing.remove_leftovers(prefix)
            for shard_id in range(shards):
                self._files.append(PendingFile(naming.shard_name(prefix, shard_id, shards), durable=durable))
                self._activate(shard_id)
        except BaseException:
            self.abort()
            raise

    @property
    def is_open(self) -> bool:
        """Whether tensors can still be added."""
        return self._is_open

    def check_name(self, name: str) -> bytes:
        """The key of a tensor that can be added; `ValueError` for a name that is none or is taken."""
        key = _to_key(name)
        if key in self._entries or key in self._partitioned:
            raise ValueError(f"the tensor {printable(name)!r} was added before")
        return key

    def add(
        self,
        name: str,
        data_type: DataType,
        shape: Sequence[int],
        payload: ByteView | bytes,
        *,
        checksum: int | None = None,
        shard: int | None = None,
    ) -> None:
        """Write a tensor's payload.

        `checksum` is its (unmasked) crc32c where that is not the payload's own, as for strings, or where it is known.
        Without `shard` the payload goes to the data shard that has the fewest bytes so far.
        """
        key = self.check_name(name)
        self._add(key, data_type, shape, payload, checksum=checksum, shard=shard)

    def add_slice(
        self,
        name: str,
        data_type: DataType,
        full_shape: Sequence[int],
        piece: TensorSlice,
        payload: ByteView | bytes,
        *,
        checksum: int | None = None,
        shard: int | None = None,
    ) -> None:
        """Write one slice of a tensor; a slice that is all of it becomes an ordinary tensor, as in TensorFlow.

        The slices of a tensor come in any order and with other tensors between them; `finish` wants all of them.
        """
        full_shape = tuple(full_shape)
        try:
            shape = piece.shape(full_shape)
        except CorruptionError as error:
            raise ValueError(f"{printable(name)!r}: {error.message}") from None
        if shape == full_shape:
            self.add(name, data_type, shape, payload, checksum=checksum, shard=shard)
            return
        key = _to_key(name)
        whole = self._partitioned.get(key)
        if whole is None:
            self.check_name(name)
            whole = _Partitioned(data_type, full_shape, [])
        if (whole.data_type, whole.shape) != (data_type, full_shape):
            raise ValueError(
                f"slice {piece} of {printable(name)!r} belongs to {data_type.name} {list(full_shape)}, "
                f"the slices before it to {whole.data_type.name} {list(whole.shape)}"
            )
        slice_key = piece.key(key)
        if slice_key in self._entries:
            raise ValueError(f"slice {piece} of {printable(name)!r} was added before")
        shard = self._add(slice_key, data_type, shape, payload, checksum=checksum, shard=shard)
        whole.pieces.append((shard, piece))
        self._partitioned[key] = whole

    def finish(self) -> None:
        """Write the index and put all files in place; `ValueError` if slices of a tensor are missing or overlap."""
        self._check_open()
        try:
            entries = self._entries | {key: self._parent(key, whole) for key, whole in self._partitioned.items()}
            publishing.check_free(self._prefix, len(self._files), overwrite=self._overwrite)
            index = PendingFile(naming.index_name(self._prefix), durable=self._durable)
            self._files.append(index)
            with writing(index.path):
                table = TableWriter(index.file.write)
                table.add(b"", BundleHeader(len(self._offsets), False, VERSION).encode())
                for key in sorted(entries):
                    table.add(key, entries[key].encode())
                table.finish()
            publishing.publish(self._prefix, self._files[:-1], index, overwrite=self._overwrite, durable=self._durable)
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what has been written and give the prefix back; harmless after `finish`."""
        self._is_open = False
        for file in self._files:
            file.discard()
        self._lock.release()

    def _add(
        self,
        key: bytes,
        data_type: DataType,
        shape: Sequence[int],
        payload: ByteView | bytes,
        *,
        checksum: int | None,
        shard: int | None,
    ) -> int:
        """Write a payload and note its entry; the shard it went to."""
        self._check_open()
        expected = check_shape(shape) * data_type.itemsize
        if data_type.itemsize and len(payload) != expected:
            raise ValueError(f"{data_type.name} of shape {list(shape)} takes {expected} bytes, not {len(payload)}")
        if shard is None:
            shard = self._offsets.index(min(self._offsets))
        elif not 0 <= shard < len(self._offsets):
            raise ValueError(f"there is no data shard {shard} of {len(self._offsets)}")
        offset, size = self._offsets[shard], len(payload)
        try:
            computed = self._write(self._activate(shard), memoryview(payload), checksum)
        except BaseException:
            self.abort()  # part of the payload may be in the file
            raise
        self._offsets[shard] += size + -size % self._alignment
        self._entries[key] = BundleEntry(data_type, tuple(shape), shard, offset, size, computed, ())
        return shard

    def _activate(self, shard: int) -> PendingFile:
        """The file of a data shard, open; the one that was not written to for longest is closed for it."""
        file = self._files[shard]
        if shard in self._open_shards:
            self._open_shards.remove(shard)
        elif len(self._open_shards) == _OPEN_SHARDS:
            self._files[self._open_shards.pop(0)].suspend()
        file.resume()
        self._open_shards.append(shard)
        return file

    def _write(self, file: PendingFile, payload: ByteView, checksum: int | None) -> int:
        computed = 0
        with writing(file.path):
            for start in range(0, len(payload), _PIECE_BYTES):
                piece = payload[start : start + _PIECE_BYTES]
                if checksum is None:
                    computed = crc32c(piece, computed)
                file.file.write(piece)
            file.file.write(bytes(-len(payload) % self._alignment))
        return computed if checksum is None else checksum

    def _parent(self, key: bytes, whole: _Partitioned) -> BundleEntry:
        # TensorFlow merges the bundles of single shards in their order.
        pieces = sorted(whole.pieces, key=lambda item: item[0])
        slices = tuple(piece for _, piece in pieces)
        try:
            check_cover(slices, whole.shape)
        except CorruptionError as error:
            raise ValueError(f"{printable(decode_name(key))!r}: {error.message}") from None
        return BundleEntry(whole.data_type, whole.shape, pieces[0][0], 0, 0, 0, slices)

    def _check_open(self) -> None:
        if not self._is_open:
            raise ValueError(f"the writer of {self._prefix} is closed")


def _to_key(name: str) -> bytes:
    """The bytes of a name; lone surrogates stand for bytes that are not UTF-8, as the reader gives them."""
    if not isinstance(name, str):
        raise TypeError(f"a tensor's name is a str, not {type(name).__name__}")
    key = encode_name(name)
    if key is None:
        raise ValueError(f"the name {printable(name)!r} cannot be encoded: it contains surrogates")
    if not key:
        raise ValueError("the name of a tensor must not be empty: the empty key holds the header")
    if len(key) > MAX_NAME_BYTES:
        raise ValueError(f"a name of {len(key)} bytes is too long; at most {MAX_NAME_BYTES} are taken")
    return key
