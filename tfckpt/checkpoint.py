"""A checkpoint as a read-only mapping from names to arrays."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from types import TracebackType

from . import detect
from ._typing import Array, PathLike, TensorReader
from .bundle import naming
from .bundle.reader import BundleReader
from .errors import CorruptionError
from .graph import Graph
from .limits import DEFAULT_LIMITS, Limits
from .meta_graph import read_meta_graph
from .storage.base import Storage
from .storage.local import LocalStorage
from .tensors.info import TensorInfo
from .v1.reader import V1Reader


class Checkpoint(Mapping[str, Array]):
    """The tensors of a checkpoint by name, each read when it is asked for.

    Names iterate in the order of their UTF-8 bytes.
    Arrays are read-only; those of a local little-endian checkpoint are views of the mapped file and take no memory of
    their own, and they stay valid after `close`.
    Every checksum is compared when its bytes are read.
    Safe to use from several threads.
    """

    def __init__(
        self, storage: Storage, reader: TensorReader, prefix: str, notes: tuple[str, ...], limits: Limits
    ) -> None:
        """Use `tfckpt.open`."""
        self._storage = storage
        self._reader: TensorReader | None = reader
        self._prefix = prefix
        self._notes = notes
        self._limits = limits

    @property
    def prefix(self) -> str:
        """The path that the checkpoint's files share."""
        return self._prefix

    @property
    def format(self) -> str:
        """The format's name: "V2" for a tensor bundle, "V1" for the table files that came before it."""
        return self.reader.format

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the index and the data shards, whether or not all of them are there."""
        return self.reader.files

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how the checkpoint was found, a sentence each."""
        return self._notes

    @property
    def reader(self) -> TensorReader:
        """The reader of this format; `ValueError` after `close`."""
        if self._reader is None:
            raise ValueError(f"the checkpoint {self._prefix} is closed")
        return self._reader

    def __getitem__(self, name: str) -> Array:
        """The tensor, its checksum compared; `TensorNotFoundError` (a `KeyError`) if there is none of this name."""
        return self.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.reader.names())

    def __len__(self) -> int:
        return len(self.reader.names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.reader

    # A checkpoint is a thing on disk: comparing two as mappings would read both whole, and arrays have no one truth.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{'closed ' if self._reader is None else ''}Checkpoint {self._prefix!r}>"

    def info(self, name: str) -> TensorInfo:
        """What is known of a tensor without reading it."""
        return self.reader.info(_name(name))

    def infos(self) -> Iterator[TensorInfo]:
        """What is known of every tensor, in the order of the names."""
        return self.reader.infos()

    def read(self, name: str, *, verify: bool = True) -> Array:
        """The tensor as a read-only array: a view of the mapped file where possible, else a copy.

        A scalar is a 0-d array; strings are an object array of `bytes`.
        `verify=False` leaves out comparing the tensor's checksum, to save what a damaged file still holds.
        """
        return self.reader.read(_name(name), verify=verify)

    def missing_files(self) -> dict[str, tuple[str, ...]]:
        """The data shards that are not there, each with the names of the tensors it costs."""
        return self.reader.missing_shards()

    @functools.cached_property
    def graph(self) -> Graph | None:
        """The graph in the `.meta` file beside the checkpoint; None if there is no such file."""
        path = naming.meta_name(self._prefix)
        if not self._storage.is_file(path):
            return None
        source = self._storage.open(path)
        try:
            return read_meta_graph(source, self._limits).graph
        finally:
            source.close()

    def close(self) -> None:
        """Give back the files; arrays that were read stay valid. Closing twice is harmless."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open(path: PathLike, *, limits: Limits = DEFAULT_LIMITS) -> Checkpoint:
    """Open the checkpoint that `path` means.

    `path` is a prefix (`dir/model.ckpt-7`), any file of the checkpoint, a `checkpoint` state file,
    or a folder that holds one: the latest by its state file, else the only one there.

    Raises `CheckpointNotFoundError` when there is none, saying what is there instead; `CorruptionError` when its index
    is damaged; `UnsupportedFeatureError` when its format is newer than this reader.
    """
    storage = LocalStorage()
    found = detect.find(storage, os.fspath(path), limits)
    reader, prefix = _read(storage, found, limits)
    return Checkpoint(storage, reader, prefix, found.notes, limits)


def _read(storage: Storage, found: detect.Found, limits: Limits) -> tuple[TensorReader, str]:
    """The reader of the format that was found, and the prefix that it reads."""
    if found.format == detect.V1:
        return V1Reader(storage, found.prefix, limits), found.prefix
    try:
        return BundleReader(storage, found.prefix, limits), found.prefix
    except CorruptionError as error:
        index = naming.index_name(found.prefix)
        if detect.is_v1_file(storage, index, limits):
            return V1Reader(storage, index, limits), index
        raise detect.explain_index(storage, found.prefix, error) from None


def _name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a tensor's name is a str, not {type(name).__name__}")
    return name
