"""The reader of V1 checkpoints (TensorFlow `util/tensor_slice_reader.cc`).

Each shard is a table.
The value at the empty key is a list of the tensors with their full shapes and the slices that this shard contains.
Every other value is a record: one slice of one tensor, a SavedTensorSlices message with the elements in a TensorProto.
Opening reads the lists of all shards. The records of a tensor are read on access.

Tensors have no checksums of their own; the blocks of the table have checksums, which are always verified.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

from .. import protos
from .._threads import cached_property
from .._typing import Array, ByteSource, ByteView
from ..coding.names import decode_name, encode_name
from ..errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptionError,
    ResourceError,
    TensorNotFoundError,
    UnsupportedFeatureError,
    error_context,
    find_close_names,
    format_key,
    join_some,
    say_close_names,
)
from ..limits import DEFAULT_LIMITS, Limits, check_limit
from ..sstable.table import Table
from ..storage.base import Storage
from ..tensors.dense import check_rank, check_shape
from ..tensors.dtypes import DataType, data_type
from ..tensors.indexing import Index, Selection, gather, select
from ..tensors.info import TensorInfo
from ..tensors.reading import Payload, ReaderWithoutPayloads
from ..tensors.slices import TensorSlice, check_cover
from ..tensors.tensor_proto import decode_record
from . import naming
from .keys import LIST_KEY, decode_key

#: The checkpoint version this reader implements (TensorFlow: TF_CHECKPOINT_VERSION).
VERSION = 1


@dataclasses.dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor from the lists, with its slices and the shard of each."""

    data_type: DataType
    shape: tuple[int, ...]
    parts: list[tuple[TensorSlice, int]]

    def is_whole(self) -> bool:
        """Return whether the tensor is stored in one piece."""
        return len(self.parts) == 1 and self.parts[0][0].shape(self.shape) == self.shape

    def lacks_elements(self) -> bool:
        """Return whether the slices have too few elements; `check_cover` detects all other problems."""
        try:
            elements = sum(math.prod(piece.shape(self.shape)) for piece, _ in self.parts)
        except CorruptionError:
            return False
        return not self.parts or elements < math.prod(self.shape)


@dataclasses.dataclass(frozen=True, slots=True)
class _Shard:
    source: ByteSource
    table: Table


class V1Reader(ReaderWithoutPayloads):
    """An open V1 checkpoint; thread-safe."""

    format: str = "V1"

    def __init__(self, storage: Storage, prefix: str, limits: Limits = DEFAULT_LIMITS) -> None:
        """Open all existing shards and read their lists.

        `prefix` is the path of the only file, or `BASE-?????-of-NNNNN` for a sharded checkpoint.
        """
        self._prefix = prefix
        self._limits = limits
        self._paths = _list_paths(storage, prefix, limits)
        self._shards: dict[int, _Shard] = {}
        tensors: dict[bytes, _Tensor] = {}
        try:
            for shard_id, path in enumerate(self._paths):
                if len(self._paths) > 1 and not storage.is_file(path):
                    continue
                source = storage.open(path)
                try:
                    with error_context(path=path):
                        self._shards[shard_id] = _Shard(source, Table(source, limits))
                        self._add_list(tensors, shard_id)
                except BaseException:
                    source.close()
                    raise
            if not self._shards:
                raise CheckpointNotFoundError(f"none of the {len(self._paths)} shards exists", path=prefix)
        except BaseException:
            self.close()
            raise
        self._tensors = dict(sorted(tensors.items()))

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of all shards, including missing ones; there is no index file."""
        return self._paths

    @property
    def num_shards(self) -> int:
        """Always 1: the shards of a V1 checkpoint are tables, not data shards."""
        return 1

    @property
    def producer(self) -> None:
        """Always None: V1 has version numbers of its own."""
        return

    @property
    def big_endian(self) -> None:
        """Always None: the elements are in protobuf messages, which have only one byte order."""
        return

    @property
    def has_checksums(self) -> bool:
        """Always True: every block of the tables has one."""
        return True

    @property
    def can_copy(self) -> bool:
        """Always False: the elements are in protobuf messages."""
        return False

    def names(self) -> tuple[str, ...]:
        """Return the names of all tensors, sorted by their bytes."""
        return tuple(map(decode_name, self._tensors))

    def iterate_names(self) -> Iterator[str]:
        """Yield the names of all tensors like `names`."""
        return map(decode_name, self._tensors)

    def __contains__(self, name: str) -> bool:
        """Return whether there is a tensor of this name."""
        return encode_name(name) in self._tensors

    def info(self, name: str) -> TensorInfo:
        """Describe a tensor from the lists; `TensorNotFoundError` if there is none.

        `nbytes` is the size of the elements in memory, or 0 for strings, whose lengths are in the records.
        `offset` and `crc32c` are None, since records have no checksum and blocks may be compressed.
        """
        return _describe(name, self._find(name)[1])

    def infos(self) -> Iterator[TensorInfo]:
        """Describe all tensors from the lists, in the order of `names`."""
        return (_describe(decode_name(name), tensor) for name, tensor in self._tensors.items())

    def read(self, name: str, *, verify: bool = True, index: Index = None) -> Array:
        """Return the tensor, or the part that `index` selects, as a read-only copy.

        `verify` has no effect, since the checksums of the table's blocks are always verified.
        """
        key, tensor = self._find(name)
        with error_context(path=self._prefix, tensor=name):
            selection = select(tensor.shape, index)
            self._check_tensor(tensor)
            if tensor.is_whole():
                record = self._find_record(key, *tensor.parts[0])
                return selection.finish(selection.within_whole(self._decode(record, key, tensor, *tensor.parts[0])))
            records: list[tuple[TensorSlice, tuple[ByteView, TensorSlice, int]]] = []
            for piece, shard_id in tensor.parts:
                if selection.overlap(piece) is not None:
                    records.append((piece, (self._find_record(key, piece, shard_id), piece, shard_id)))
            nbytes, elements = sum(len(record) for _, (record, _, _) in records), math.prod(selection.box_shape)
            if nbytes < elements:
                # Each element takes at least a byte. Check this before memory for the elements is allocated.
                raise CorruptionError(f"records of {nbytes} bytes cannot hold {elements} elements")

            def read_part(part: tuple[ByteView, TensorSlice, int], inside: Selection) -> Array:
                record, piece, shard_id = part
                return inside.within_whole(self._decode(record, key, tensor, piece, shard_id))

            return gather(selection, tensor.data_type.to_numpy(), records, read_part)

    def read_ahead(self, wanted: Iterable[str | Payload], connections: int) -> contextlib.AbstractContextManager[None]:
        """Do nothing: the records of a tensor are in blocks, which are read one by one."""
        return contextlib.nullcontext()

    def missing_shards(self) -> dict[str, tuple[str, ...]]:
        """Return the paths of missing shards, each with the names of all tensors that lack slices.

        It is unknown which of several missing shards contains a slice, and which tensors are only in missing shards.
        """
        lost = tuple(decode_name(name) for name, tensor in self._tensors.items() if tensor.lacks_elements())
        return dict.fromkeys(self._missing_paths, lost)

    def salvage(self) -> tuple[tuple[str, ...], list[CheckpointError]]:
        """Return all names, and the errors in the tables, including records that are in no list.

        Reads every block of every shard, but does not decode the records of listed tensors.
        """
        errors: list[CheckpointError] = []
        listed: dict[int, set[bytes]] = {shard_id: {LIST_KEY} for shard_id in self._shards}
        for name, tensor in self._tensors.items():
            for piece, shard_id in tensor.parts:
                listed[shard_id].add(piece.key(name))
        for shard_id, shard in self._shards.items():
            try:
                shard.table.check_metaindex()
            except ResourceError:
                raise
            except CheckpointError as error:
                errors.append(error)
            for number in range(shard.table.block_count):
                try:
                    for key, _ in shard.table.block_entries(number):
                        if key not in listed[shard_id]:
                            errors.append(_unlisted_error(key, shard.source.name))
                except ResourceError:
                    raise
                except CheckpointError as error:
                    errors.append(error)
        return self.names(), errors

    def close(self) -> None:
        """Close the files; arrays stay valid."""
        for shard in self._shards.values():
            shard.source.close()

    def _add_list(self, tensors: dict[bytes, _Tensor], shard_id: int) -> None:
        """Add the list of tensors of one shard."""
        first = self._shards[shard_id].table.seek(LIST_KEY)
        message = protos.parse("SavedTensorSlices", first[1]) if first is not None and first[0] == LIST_KEY else None
        if message is None or not message.HasField("meta"):
            raise CorruptionError("table without a list of tensors at the empty key")
        protos.check_version(message.meta.versions, VERSION, "V1 checkpoint")
        for item in message.meta.tensor:
            with error_context(tensor=decode_name(item.name)):
                tensor = _decode_tensor(item)
                known = tensors.setdefault(item.name, tensor)
                if (known.shape, known.data_type) != (tensor.shape, tensor.data_type):
                    raise CorruptionError(
                        f"listed as {tensor.data_type.name} {list(tensor.shape)}, "
                        f"but in another shard as {known.data_type.name} {list(known.shape)}"
                    )
                count = len(known.parts) + len(item.slice)
                check_limit(self._limits, "max_slices", count, "partitioned tensor with too many slices")
                known.parts.extend((TensorSlice.from_proto(piece), shard_id) for piece in item.slice)

    def _find(self, name: str) -> tuple[bytes, _Tensor]:
        key = encode_name(name)
        tensor = None if key is None else self._tensors.get(key)
        if key is None or tensor is None:
            close = find_close_names(name, self.names())
            hint = say_close_names(close)
            missing = self._missing_paths
            hint += f"; it may be in one of {len(missing)} missing shards, such as {missing[0]}" if missing else ""
            raise TensorNotFoundError(f"not in the checkpoint{hint}", close_names=close, path=self._prefix, tensor=name)
        return key, tensor

    @cached_property
    def _missing_paths(self) -> list[str]:
        """The paths of the missing shards; none is opened later, so this does not change."""
        return [path for shard_id, path in enumerate(self._paths) if shard_id not in self._shards]

    @cached_property
    def _missing_shown(self) -> str:
        return join_some(self._missing_paths)

    def _check_tensor(self, tensor: _Tensor) -> None:
        """Raise unless the type can be read and the slices cover the tensor exactly once."""
        if not tensor.data_type.is_readable:
            raise UnsupportedFeatureError(f"values of type {tensor.data_type.enum_name} cannot be read")
        check_rank(tensor.shape)
        seen: dict[TensorSlice, int] = {}
        for piece, shard_id in tensor.parts:
            if piece in seen:
                what = "the whole tensor" if piece.is_full else f"slice {piece}"
                raise CorruptionError(
                    f"{what} is stored twice, in {self._paths[seen[piece]]} and in {self._paths[shard_id]}"
                )
            seen[piece] = shard_id
        if self._missing_paths and tensor.lacks_elements():
            raise CheckpointNotFoundError(
                f"the tensor has slices in a missing shard: {self._missing_shown}; put the file next to the others"
            )
        if not tensor.is_whole():
            check_cover([piece for piece, _ in tensor.parts], tensor.shape)

    def _find_record(self, key: bytes, piece: TensorSlice, shard_id: int) -> ByteView:
        """Return the bytes of one record."""
        shard = self._shards[shard_id]
        with error_context(path=shard.source.name):
            value = shard.table.get(piece.key(key))
            if value is None:
                raise CorruptionError(
                    f"slice {piece} is listed but has no record" if piece.extents else "listed but has no record"
                )
            return value

    def _decode(self, record: ByteView, key: bytes, tensor: _Tensor, piece: TensorSlice, shard_id: int) -> Array:
        """Decode the elements of one record; `CorruptionError` if it belongs to another slice or tensor."""
        with error_context(path=self._shards[shard_id].source.name):
            message = protos.parse("SavedTensorSlices", record)
            if message.data.name != key or TensorSlice.from_proto(message.data.slice) != piece:
                raise CorruptionError(
                    f"record of slice {piece} says it is slice {TensorSlice.from_proto(message.data.slice)} "
                    f"of {decode_name(message.data.name)!r}"
                )
            return decode_record(message.data.data, tensor.data_type, piece.shape(tensor.shape))


def _list_paths(storage: Storage, prefix: str, limits: Limits) -> tuple[str, ...]:
    """Return the paths of all shards of a prefix."""
    parts = None if storage.is_file(prefix) else naming.parse_pattern(prefix)
    if parts is None:
        return (prefix,)
    base, num_shards = parts
    if num_shards < 1:
        raise CheckpointNotFoundError("checkpoint with 0 shards", path=prefix)
    check_limit(limits, "max_shards", num_shards, "too many shards", path=prefix)
    return tuple(naming.shard_name(base, shard_id, num_shards) for shard_id in range(num_shards))


def _decode_tensor(item: Any) -> _Tensor:
    if item.shape.unknown_rank:
        raise CorruptionError("listed with unknown rank")
    shape = tuple(dim.size for dim in item.shape.dim)
    check_shape(shape)
    return _Tensor(data_type(item.type), shape, [])


def _describe(name: str, tensor: _Tensor) -> TensorInfo:
    whole = tensor.is_whole()
    return TensorInfo(
        name,
        tensor.data_type.to_numpy_or_void(),
        tensor.data_type.enum_name,
        tensor.shape,
        math.prod(tensor.shape) * tensor.data_type.itemsize,
        tensor.parts[0][1] if whole else None,
        None,
        None,
        () if whole else tuple(piece for piece, _ in tensor.parts),
    )


def _unlisted_error(key: bytes, path: str) -> CorruptionError:
    """Return the error for a record that is not in the list of its shard."""
    try:
        name, piece = decode_key(key)
    except CorruptionError as error:
        return CorruptionError(f"{format_key(key)} is not the key of a record: {error.message}", path=path)
    return CorruptionError(f"record of slice {piece} is not listed", path=path, tensor=decode_name(name))
