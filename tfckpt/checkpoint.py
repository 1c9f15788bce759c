"""A checkpoint as a read-only mapping from names to arrays."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType

from ._typing import Array, Buffer, PathLike
from .bundle import naming
from .finding import detect
from .finding.open_reader import Opened, open_reader
from .graphs import lookup, saved_model
from .graphs.graph import Graph
from .graphs.meta_graph import MetaGraph, Signature, read_meta_graph
from .graphs.object_graph import ObjectGraph, Variable, list_variables, read_object_graph
from .graphs.saved_model import SavedModel
from .limits import DEFAULT_LIMITS, Limits
from .storage.base import Storage
from .storage.locate import Options
from .tensors.indexing import Index
from .tensors.info import TensorInfo
from .tensors.reading import TensorReader, read_many
from .v1 import naming as v1_naming


class Checkpoint(Mapping[str, Array]):
    """The tensors of a checkpoint by name, each read when it is asked for.

    Names iterate in the order of their UTF-8 bytes; those of a TF2 checkpoint are its checkpoint keys.
    A tensor of a TF2 checkpoint can also be asked for by its path through the object graph (`net/layers/0/kernel`)
    and by the variable's full name (`stem_conv/kernel`).
    Keys win over paths, and paths over full names; a full name that several variables have is not found,
    and the error lists their keys.
    Arrays are read-only; those of a local little-endian checkpoint are views of the mapped file and take no memory of
    their own, and they stay valid after `close`.
    Every checksum is compared when its bytes are read.
    Safe to use from several threads.
    """

    def __init__(self, opened: Opened, given: PathLike | Mapping[str, Buffer], options: Options) -> None:
        """Use `tfckpt.open`."""
        self._storage = opened.storage
        self._reader: TensorReader | None = opened.reader
        self._prefix = opened.prefix
        self._notes = opened.notes
        self._limits = options.limits
        self._options = options
        self._again = given if isinstance(given, Mapping) else opened.storage.address(opened.prefix)

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
    def storage(self) -> Storage:
        """Where the files are."""
        return self._storage

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
        return isinstance(name, str) and self._key(name) is not None

    # A checkpoint is a thing on disk: comparing two as mappings would read both whole, and arrays have no one truth.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{'closed ' if self._reader is None else ''}Checkpoint {self._prefix!r}>"

    def info(self, name: str) -> TensorInfo:
        """What is known of a tensor without reading it; the record's own name is the checkpoint key."""
        return self.reader.info(self._needed_key(name))

    def infos(self) -> Iterator[TensorInfo]:
        """What is known of every tensor, in the order of the names."""
        return self.reader.infos()

    def read(self, name: str, *, index: Index = None, verify: bool = True) -> Array:
        """The tensor as a read-only array: a view of the mapped file where possible, else a copy.

        A scalar is a 0-d array; strings are an object array of `bytes`.
        `index` selects a part, as in `read(name, index=np.s_[10:20])`: ints, slices with any step, Ellipsis, and tuples
        of these give what the same index gives of the whole array, a single element as a 0-d array.
        Lists, arrays and booleans are refused with `TypeError`.

        A checksum covers a whole payload, which is the tensor, or one slice of it where it is stored in slices.
        With `verify`, every payload that holds a selected element is read whole and its checksum compared, here or
        over the network, and payloads that hold none are not touched.
        With `verify=False` nothing is compared, and only the contiguous bytes that hold the selected rows are read; to
        read many parts of a large tensor, verify it once and then leave it out.
        It also saves what a damaged file still holds.
        Strings are always read whole, and so are the records of V1, whose blocks are always verified.
        """
        return self.reader.read(self._needed_key(name), verify=verify, index=index)

    def read_many(
        self, names: Iterable[str] | None = None, *, threads: int | None = None, verify: bool = True
    ) -> Iterator[tuple[str, Array]]:
        """(name, array) of these tensors in the order of `names`, or of all; read and verified by several threads.

        `threads` is the number of processors if None, at most 8, and the number of connections for remote files.
        Tensors of remote files are fetched together, in few requests, 64 MiB at a time.
        A name that is not there raises `TensorNotFoundError` at once; an error of a tensor is raised in its turn.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        given = list(self) if names is None else list(names)
        keys = given if names is None else [self._needed_key(name) for name in given]
        for key in {} if names is None else dict.fromkeys(keys):
            self.reader.info(key)
        arrays = read_many(self.reader, keys, threads=threads, verify=verify, is_remote=self._storage.is_remote)
        return ((name, array) for name, (_, array) in zip(given, arrays, strict=True))

    def missing_files(self) -> dict[str, tuple[str, ...]]:
        """The data shards that are not there, each with the names of the tensors it costs."""
        return self.reader.missing_shards()

    @functools.cached_property
    def object_graph(self) -> ObjectGraph | None:
        """The objects of a TF2 checkpoint and how they refer to each other; None for a name-based one."""
        return read_object_graph(self.reader, self._limits)

    def variables(self) -> tuple[Variable, ...]:
        """A row for each variable, in the order of the keys: key, path and full name, with its slot variables.

        Of a name-based checkpoint every tensor is a row.
        """
        return list_variables(self.reader, self.object_graph)

    @functools.cached_property
    def saved_model(self) -> SavedModel | None:
        """All meta graphs of the SavedModel whose variables these are; None if they are of no SavedModel."""
        folder = saved_model.find_folder(self._storage, self._prefix)
        return None if folder is None else saved_model.read_saved_model(self._storage, folder, self._limits)

    @functools.cached_property
    def meta_graph(self) -> MetaGraph | None:
        """The graph beside the checkpoint with its signatures and collections; None if there is none.

        That is the `.meta` file of the same name, or the meta graph of the SavedModel:
        of several the one tagged `serve` alone, else the first tagged so, else the first without tags, else the first.
        """
        if self.saved_model is not None:
            return self.saved_model.meta_graph
        path = (v1_naming if self.format == detect.V1 else naming).meta_name(self._prefix)
        if not self._storage.is_file(path):
            return None
        source = self._storage.open(path)
        try:
            return read_meta_graph(source, self._limits)
        finally:
            source.close()

    @property
    def graph(self) -> Graph | None:
        """The graph beside the checkpoint, with its functions; None if there is none. See `meta_graph`."""
        return None if self.meta_graph is None else self.meta_graph.graph

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """What the model beside the checkpoint can be asked for, by name; empty if there is no model."""
        found = {} if self.meta_graph is None else self.meta_graph.signatures
        return {name: signature for name, signature in found.items() if name != saved_model.INIT_SIGNATURE}

    def _key(self, name: str) -> str | None:
        """The key that a key, a path or a full name means; None if it means none, or several."""
        if name in self.reader:
            return name
        if self.object_graph is None:
            return None
        keys = lookup.resolve_keys(self.reader, self.object_graph, name)
        return keys[0] if len(keys) == 1 else None

    def _needed_key(self, name: str) -> str:
        """The key that a name means; a name-based checkpoint's reader itself says what is wrong with one."""
        key = self._key(_name(name))
        if key is None and self.object_graph is not None:
            raise lookup.not_found_error(self.reader, self.object_graph, name, path=self._prefix)
        return name if key is None else key

    def close(self) -> None:
        """Give back the files; arrays that were read stay valid. Closing twice is harmless."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
            self._storage.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by address: the checkpoint is opened again where it arrives, and must be there too."""
        return _reopen, (self._again, self._options)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open(
    path: PathLike | Mapping[str, Buffer],
    *,
    mmap: bool = True,
    limits: Limits = DEFAULT_LIMITS,
) -> Checkpoint:
    """Open the checkpoint that `path` means.

    `path` is a prefix (`dir/model.ckpt-7`), any file of the checkpoint, a `checkpoint` state file,
    or a folder that holds one: the latest by its state file, else the only one there.
    It can stand on this machine, at an address (`https://host/dir/model.ckpt-7`, or any that fsspec knows, such as
    `gs://`), in an archive (`weights.tgz`, or `weights.tgz!dir/model.ckpt-7` if there are several inside),
    or in memory: a mapping from file names to bytes.

    With `mmap=False` local files are read instead of mapped: every array is a copy, and a file that is cut short while
    an array is used cannot end the process.

    Raises `CheckpointNotFoundError` when there is none, saying what is there instead; `CorruptionError` when its index
    is damaged; `UnsupportedFeatureError` when its format is newer than this reader;
    `StorageError` when the place does not give its bytes.
    """
    options = Options(mmap=mmap, limits=limits)
    return Checkpoint(open_reader(path, options), path, options)


def _reopen(path: PathLike | Mapping[str, Buffer], options: Options) -> Checkpoint:
    return open(path, mmap=options.mmap, limits=options.limits)


def _name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a tensor's name is a str, not {type(name).__name__}")
    return name
