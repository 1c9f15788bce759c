"""The reader of Keras's own files.

Opening reads the structures of each HDF5 file. The data of a tensor is contiguous, and read on access.
HDF5 has checksums only in newer files, which Keras does not write: damage in data is not noticed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from .._threads import cached_property
from .._typing import Array, ByteSource, ByteView
from ..coding.names import encode_name
from ..errors import (
    CheckpointError,
    CorruptionError,
    TensorNotFoundError,
    UnsupportedFeatureError,
    abridged,
    error_context,
    find_close_names,
    say_close_names,
)
from ..limits import DEFAULT_LIMITS, Limits, limits_of_table
from ..storage.base import Range, Storage, batch_ranges
from ..tensors.dense import check_rank, decode_dense
from ..tensors.dtypes import DataType, data_type_named
from ..tensors.indexing import Index, Selection, select
from ..tensors.info import TensorInfo
from ..tensors.reading import CONNECTIONS, Payload, ReaderWithoutPayloads
from .files import is_hdf5, open_weights, parse_config
from .hdf5 import Attributes, Contents, Dataset, read_contents
from .layers import find_full_names, names_in_config, names_in_groups
from .messages import OPAQUE_16
from .names import MODEL_WEIGHTS, is_legacy, model_config, name_datasets

_BFLOAT16 = "bfloat16"


@dataclasses.dataclass(frozen=True, slots=True)
class _Stored:
    """A tensor: the number of its file, and the dataset there."""

    shard: int
    dataset: Dataset
    data_type: DataType


class KerasReader(ReaderWithoutPayloads):
    """An open Keras file; thread-safe."""

    format: str = "Keras"

    def __init__(self, storage: Storage, path: str, limits: Limits = DEFAULT_LIMITS) -> None:
        """Open the file, and those it names, and read their structures."""
        self._path = path
        self._limits = limits
        self._storage = storage
        self._weights = open_weights(storage, path, limits)
        try:
            self._files = [self._read_file(source, limits) for source in self._weights.sources]
            with error_context(path=path):
                for group, shards in self._weights.weight_map.items():
                    if not any(group in self._files[shard].groups for shard in shards):
                        raise CorruptionError(f"the group {abridged(group)!r} is not in its shards")
                tensors = self._name_tensors()
        except BaseException:
            self.close()
            raise
        self._tensors = {name: tensors[name] for name in sorted(tensors, key=lambda name: encode_name(name) or b"")}

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the file, and of its shards if it has any."""
        return self._weights.paths

    @property
    def num_shards(self) -> int:
        """The number of HDF5 files."""
        return len(self._files)

    @property
    def producer(self) -> None:
        """Always None: the files have no version of their format."""
        return

    @property
    def big_endian(self) -> bool:
        """Whether any tensor is stored in big-endian byte order."""
        return any(stored.dataset.big_endian for stored in self._tensors.values())

    @property
    def has_checksums(self) -> bool:
        """Always False."""
        return False

    @property
    def can_copy(self) -> bool:
        """Always False: the tensors have no checksums."""
        return False

    @cached_property
    def config(self) -> Any:
        """The configuration of the model as parsed JSON; None if the file has only weights."""
        text = self._weights.config
        for contents in self._files:
            text = text or model_config(contents.groups)
        with error_context(path=self._path):
            return None if text is None else parse_config(text)

    @property
    def keras_version(self) -> str:
        """The version of Keras that wrote the file; empty if the file does not say it."""
        for contents in self._files:
            for group in ("", MODEL_WEIGHTS):
                if version := contents.groups.get(group, {}).get("keras_version"):
                    return version[0]
        with contextlib.suppress(CorruptionError):
            metadata = None if self._weights.metadata is None else parse_config(self._weights.metadata)
            version = metadata.get("keras_version") if isinstance(metadata, dict) else None
            return version if isinstance(version, str) else ""
        return ""

    @cached_property
    def full_names(self) -> Mapping[str, str]:
        """The names that variables have in the program, as far as the file shows them: `stem_conv/kernel` by path."""
        if any(map(is_legacy, self._files)):
            return {}
        groups: dict[str, Attributes] = {}
        for contents in self._files:  # the variables of a layer may be in several shards
            for group, attributes in contents.groups.items():
                groups[group] = {**groups.get(group, {}), **attributes}
        size = sum(source.size for source in self._weights.sources)
        limits = limits_of_table(self._limits, size)
        names = names_in_config(self.config, groups, self._tensors) | names_in_groups(groups)
        return find_full_names(self._tensors, names, limits)

    def names(self) -> tuple[str, ...]:
        """Return the names of all tensors, sorted by their bytes."""
        return tuple(self._tensors)

    def iterate_names(self) -> Iterator[str]:
        """Yield the names of all tensors like `names`."""
        return iter(self._tensors)

    def __contains__(self, name: str) -> bool:
        """Return whether there is a tensor of this name."""
        return name in self._tensors

    def info(self, name: str) -> TensorInfo:
        """Describe a tensor; `TensorNotFoundError` if there is none. `crc32c` is always None."""
        return _describe(name, self._find(name))

    def infos(self) -> Iterator[TensorInfo]:
        """Describe all tensors, in the order of `names`."""
        return (_describe(name, stored) for name, stored in self._tensors.items())

    def read(self, name: str, *, verify: bool = True, index: Index = None) -> Array:
        """Return the tensor, or the part that `index` selects; a read-only view of the file if possible, else a copy.

        `verify` has no effect, since there are no checksums: only the contiguous bytes that contain the selected rows
        are read.
        """
        stored = self._find(name)
        selection = select(stored.dataset.shape, index)
        with error_context(path=self._weights.sources[stored.shard].name, tensor=name):
            if not stored.data_type.is_readable:
                raise UnsupportedFeatureError(
                    "values of 2 bytes without a type: Keras stores bfloat16 like this, but this file does not say so; "
                    "save the whole model as .keras or .h5"
                )
            return self._read_box(stored, selection, index)

    def read_ahead(self, wanted: Iterable[str | Payload], connections: int) -> AbstractContextManager[None]:
        """While the context lasts, fetch tensors that will be read in this order; see `TensorReader`."""
        stored = (self._tensors[name] for name in wanted if isinstance(name, str) and name in self._tensors)
        ranges = (
            Range(self._weights.sources[each.shard].name, each.dataset.offset, each.dataset.nbytes) for each in stored
        )
        return self._storage.read_ahead(batch_ranges(ranges, self._storage.piece_bytes), connections)

    def missing_shards(self) -> dict[str, tuple[str, ...]]:
        """Return an empty dict: a file without one of its shards cannot be opened."""
        return {}

    def salvage(self) -> tuple[tuple[str, ...], list[CheckpointError]]:
        """Return all names and no errors: a file with damaged structures cannot be opened."""
        return self.names(), []

    def close(self) -> None:
        """Close the files; arrays stay valid."""
        for source in self._weights.sources:
            source.close()
        if self._weights.closing is not None:
            self._weights.closing.close()

    def _read_file(self, source: ByteSource, limits: Limits) -> Contents:
        if not is_hdf5(source):
            raise CorruptionError("not an HDF5 file, which Keras's weights are", path=source.name)

        def prefetch(ranges: Sequence[tuple[int, int]]) -> AbstractContextManager[None]:
            return self._storage.read_ahead([[Range(source.name, *each)] for each in ranges], CONNECTIONS)

        return read_contents(source, limits, prefetch if self._storage.is_remote else None)

    def _name_tensors(self) -> dict[str, _Stored]:
        """Return all tensors by name; `CorruptionError` if two different ones have the same name."""
        tensors: dict[str, _Stored] = {}
        for shard, contents in enumerate(self._files):
            for name, path in name_datasets(contents):
                stored = _Stored(shard, contents.datasets[path], self._find_type(contents.datasets[path]))
                first = tensors.setdefault(name, stored)
                if first is not stored and not self._is_same(first, stored):
                    paths = " and ".join(repr(abridged(one)) for one in (first.dataset.path, path))
                    raise CorruptionError(
                        f"two different tensors have this name: {paths}; give one of the layers another name in Keras "
                        "and save again",
                        tensor=name,
                    )
        return tensors

    def _is_same(self, first: _Stored, second: _Stored) -> bool:
        """Return whether two tensors are equal, which costs reading both."""
        if (first.data_type, first.dataset.shape, first.dataset.big_endian) != (
            second.data_type,
            second.dataset.shape,
            second.dataset.big_endian,
        ):
            return False
        return self._read_bytes(first, 0, first.dataset.nbytes) == self._read_bytes(second, 0, second.dataset.nbytes)

    def _find_type(self, dataset: Dataset) -> DataType:
        """Return the type of a dataset; of one without a type only an attribute or the configuration knows it."""
        if dataset.data_type != OPAQUE_16:
            return dataset.data_type
        is_known = dataset.dtype_name == _BFLOAT16 or (dataset.dtype_name is None and self._is_bfloat16)
        return data_type_named(_BFLOAT16) if is_known else OPAQUE_16

    @cached_property
    def _is_bfloat16(self) -> bool:
        """Whether the configuration names bfloat16, the only type of Keras that HDF5 stores without a type."""
        return _contains_text(self.config, _BFLOAT16)

    def _find(self, name: str) -> _Stored:
        stored = self._tensors.get(name)
        if stored is None:
            close = find_close_names(name, self._tensors)
            message = f"not in the checkpoint{say_close_names(close)}"
            raise TensorNotFoundError(message, close_names=close, path=self._path, tensor=name)
        return stored

    def _read_box(self, stored: _Stored, selection: Selection, index: Index) -> Array:
        dataset, big_endian, itemsize = stored.dataset, stored.dataset.big_endian, stored.data_type.itemsize
        if selection.is_empty:
            check_rank(selection.box_shape)
            return selection.finish(np.empty(selection.box_shape, stored.data_type.to_numpy()))
        first, shape = selection.rows()
        payload = self._read_bytes(stored, first * itemsize, math.prod(shape) * itemsize)
        try:
            run = decode_dense(payload, stored.data_type, shape, big_endian=big_endian)
        except CorruptionError as error:
            error.offset = dataset.offset
            raise
        return run if index is None else selection.finish(selection.within_rows(run))

    def _read_bytes(self, stored: _Stored, offset: int, length: int) -> ByteView:
        if not length:
            return memoryview(b"")
        return self._weights.sources[stored.shard].read(stored.dataset.offset + offset, length)


def _describe(name: str, stored: _Stored) -> TensorInfo:
    dataset, data_type = stored.dataset, stored.data_type
    dtype, offset = data_type.to_numpy(), dataset.offset if dataset.nbytes else 0
    return TensorInfo(name, dtype, data_type.enum_name, dataset.shape, dataset.nbytes, stored.shard, offset, None)


def _contains_text(value: Any, text: str) -> bool:
    """Return whether a text is among the values of parsed JSON, however deep."""
    work = [value]
    while work:
        item = work.pop()
        if item == text:
            return True
        if isinstance(item, dict):
            work += item.values()
        elif isinstance(item, list):
            work += item
    return False
