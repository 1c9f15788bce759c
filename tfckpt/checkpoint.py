"""A checkpoint as a read-only mapping from names to arrays."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._threads import cached_property
from ._typing import Array, Buffer, PathLike
from .addresses import plain_address, split_address
from .bundle import naming
from .errors import CheckpointError
from .finding import detect
from .finding.open_reader import OpenedReader, open_reader
from .graphs import lookup, saved_model
from .graphs.graph import Graph
from .graphs.graph_file import read_graph_file
from .graphs.meta_graph import MetaGraph, Signature, read_meta_graph
from .graphs.object_graph import ObjectGraph, Variable, list_variables, read_object_graph
from .graphs.saved_model import SavedModel
from .limits import DEFAULT_LIMITS, Limits
from .storage.base import Storage
from .storage.locate import Options
from .tensors.html import format_html
from .tensors.indexing import Index
from .tensors.info import TensorInfo
from .tensors.reading import TensorReader, read_many
from .v1 import naming as v1_naming

if TYPE_CHECKING:
    from .keras.reader import KerasReader


class Checkpoint(Mapping[str, Array]):
    """The tensors of a checkpoint by name, each read on access.

    Names iterate in the order of their UTF-8 bytes; the names of a TF2 checkpoint are its checkpoint keys.
    A tensor of a TF2 checkpoint can also be looked up by its path in the object graph (`net/layers/0/kernel`)
    or by the variable's full name (`stem_conv/kernel`).
    Keys take precedence over paths, and paths over full names.
    If several variables share a full name, looking it up is an error that lists their keys.
    Arrays are in C order, and marked as read-only unless the checkpoint was opened with `writable=True`. Those of a
    local little-endian checkpoint are views of the memory-mapped file, which take no extra memory and stay valid after
    `close`. The map is private, so that programs that write to an array all the same change memory and never the file.
    Checksums are verified when a tensor is read, unless `verify=False`; Keras files have none.
    Checkpoints are thread-safe.
    """

    def __init__(
        self,
        opened: OpenedReader,
        path: PathLike | Mapping[str, Buffer],
        options: Options,
        graph: PathLike | None = None,
    ) -> None:
        """Wrap an open reader; use `tfckpt.open` instead."""
        self._graph = None if graph is None else os.fspath(graph)
        if self._graph is not None and split_address(self._graph) is None:
            self._graph = os.path.abspath(self._graph)
        self._storage = opened.storage
        self._reader: TensorReader | None = opened.reader
        self._prefix = opened.prefix
        self._notes = opened.notes
        self._limits = options.limits
        self._options = options
        #: Argument of `tfckpt.open` that opens this checkpoint again, from any working directory.
        self._address = path if isinstance(path, Mapping) else opened.storage.address(opened.prefix)

    @property
    def prefix(self) -> str:
        """The common path of the checkpoint's files."""
        return self._prefix

    @property
    def format(self) -> str:
        """The name of the format: "V2" for a tensor bundle, "V1" for the older table files, or "Keras"."""
        return self.reader.format

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the index and the data shards, including missing ones."""
        return self.reader.files

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for users on how the checkpoint was found, one sentence each."""
        return self._notes

    @property
    def storage(self) -> Storage:
        """The storage that holds the files."""
        return self._storage

    @property
    def is_open(self) -> bool:
        """Whether tensors can be read; False after `close`."""
        return self._reader is not None

    @property
    def reader(self) -> TensorReader:
        """The reader for this format; `ValueError` after `close`."""
        if self._reader is None:
            raise ValueError(f"the checkpoint {self._prefix} is closed")
        return self._reader

    def __getitem__(self, name: str) -> Array:
        """Return a tensor after verifying its checksum; `TensorNotFoundError` (a `KeyError`) for an unknown name."""
        return self.read(name)

    def __iter__(self) -> Iterator[str]:
        return self.reader.iterate_names()

    def __len__(self) -> int:
        return sum(1 for _ in self.reader.iterate_names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._lookup(name) is not None

    # Mapping's own __eq__ would read all tensors of both, and fail because arrays have no single truth value.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{'closed ' if self._reader is None else ''}Checkpoint {self._prefix!r}>"

    def info(self, name: str) -> TensorInfo:
        """Describe a tensor without reading it; the `name` of the record is the checkpoint key."""
        return self.reader.info(self._find_key(name))

    def _repr_html_(self) -> str:
        """Return a table of the first tensors, for notebooks."""
        if self._reader is None:
            return f"<p>{html.escape(repr(self))}</p>"
        try:
            return format_html(repr(self), self.infos(), len(self))
        except CheckpointError as error:  # the index may be damaged
            return f"<p>{html.escape(f'{self!r}: {error}')}</p>"

    def _ipython_key_completions_(self) -> list[str]:
        """Return the names that IPython offers after `checkpoint["`."""
        return [] if self._reader is None else list(self)

    def infos(self, pattern: str | None = None) -> Iterator[TensorInfo]:
        """Describe tensors without reading them, in the order of their names.

        With `pattern`, these are the tensors that `tfckpt ls` lists for it: those whose names match a glob, in which
        `*` also matches slashes, or contain a text without wildcards.
        """
        infos = self.reader.infos()
        return infos if pattern is None else (info for info in infos if lookup.matches(info.name, pattern))

    def read(self, name: str, *, index: Index = None, verify: bool = True) -> Array:
        """Return a tensor as an array in C order: a view of the mapped file if possible, else a copy.

        It is read-only unless the checkpoint was opened with `writable=True`, which always gives a new copy.

        Scalars are 0-d arrays; strings are object arrays of `bytes`.
        `index` selects a part, as in `read(name, index=np.s_[10:20])`. Ints, slices with any step, Ellipsis, and tuples
        of these select what they select from the whole array, but a single element is returned as a 0-d array.
        Lists, arrays and booleans raise `TypeError`.

        A checksum covers a whole payload, that is, the tensor, or one slice of a partitioned tensor.
        With `verify`, every payload that contains a selected element is read completely and its checksum verified,
        also over the network; other payloads are not read.
        With `verify=False`, no checksum is verified, and only the contiguous bytes that contain the selected rows are
        read. To read many parts of a large tensor, verify it once and then use `verify=False`.
        `verify=False` also recovers the values of damaged files.
        Strings and the records of V1 are always read completely, and the blocks of V1 are always verified.
        """
        return self._hand_out(self.reader.read(self._find_key(name), verify=verify, index=index))

    def read_many(
        self, names: Iterable[str] | None = None, *, threads: int | None = None, verify: bool = True
    ) -> Iterator[tuple[str, Array]]:
        """Yield (name, array) for these tensors in the order of `names`, or for all, read by several threads.

        `threads` defaults to the number of processors, at most 8; for remote files it is the number of connections.
        Tensors of remote files are fetched ahead, in few requests; at most 72 MiB are held.
        Unknown names raise `TensorNotFoundError` immediately; errors while reading a tensor are raised in its turn.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        requested = list(self) if names is None else list(names)
        keys = requested if names is None else [self._find_key(name) for name in requested]
        for key in {} if names is None else dict.fromkeys(keys):
            self.reader.info(key)
        arrays = read_many(self.reader, keys, threads=threads, verify=verify, is_remote=self._storage.is_remote)
        return ((name, self._hand_out(array)) for name, (_, array) in zip(requested, arrays, strict=True))

    def missing_files(self) -> dict[str, tuple[str, ...]]:
        """Return the paths of missing data shards, each with the names of the tensors that need it."""
        return self.reader.missing_shards()

    @cached_property
    def object_graph(self) -> ObjectGraph | None:
        """The objects of a TF2 checkpoint and their references to each other; None for a name-based checkpoint."""
        return read_object_graph(self.reader, self._limits)

    def variables(self) -> tuple[Variable, ...]:
        """Return a record of each variable, in key order: key, path, full name and slot variables.

        In a name-based checkpoint every tensor counts as a variable.
        For a Keras file that has only paths, the full names are those of layer and variable, such as
        `stem_conv/kernel`, if the file or its configuration names the layers.
        """
        keras = self._keras_reader
        if keras is not None:
            full_names = keras.full_names
            return tuple(Variable(info.name, None, full_names.get(info.name, info.name), info) for info in self.infos())
        return list_variables(self.reader, self.object_graph)

    @property
    def keras_config(self) -> Any:
        """The configuration of the Keras model in the file, as parsed JSON; None if there is none.

        A `.keras` file has one, and an `.h5` file of a whole model.
        Raises `CorruptionError` if it is not JSON.
        """
        return None if self._keras_reader is None else self._keras_reader.config

    @property
    def keras_version(self) -> str:
        """The version of Keras that wrote a Keras file; empty if it is unknown."""
        return "" if self._keras_reader is None else self._keras_reader.keras_version

    @property
    def _keras_reader(self) -> KerasReader | None:
        """The reader if this is a Keras file; imported only then."""
        if self.reader.format != detect.KERAS:
            return None
        from .keras.reader import KerasReader

        return self.reader if isinstance(self.reader, KerasReader) else None

    @cached_property
    def saved_model(self) -> SavedModel | None:
        """The SavedModel whose variables this checkpoint holds, with all its meta graphs; None if there is none."""
        folder = saved_model.find_folder(self._storage, self._prefix)
        return None if folder is None else saved_model.read_saved_model(self._storage, folder, self._limits)

    @property
    def graph_file(self) -> str | None:
        """The path of the graph that was given to `tfckpt.open`, without secrets; None if it was not."""
        return None if self._graph is None else plain_address(self._graph)

    @cached_property
    def meta_graph(self) -> MetaGraph | None:
        """The graph saved with the checkpoint, with its signatures and collections; None if there is none.

        It comes from the `.meta` file of the same name or from the SavedModel.
        If the SavedModel has several meta graphs, the order of preference is: the one whose only tag is `serve`, the
        first with the tag `serve`, the first without tags (as in TF-Hub modules), the first.
        A graph that was given to `tfckpt.open` replaces it.
        """
        if self._graph is not None:
            return read_graph_file(self._graph, self._limits)
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
        """The graph saved with the checkpoint, with its functions; None if there is none. See `meta_graph`."""
        return None if self.meta_graph is None else self.meta_graph.graph

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures of the model saved with the checkpoint, by name; empty if there is no model."""
        signatures = {} if self.meta_graph is None else self.meta_graph.signatures
        return {name: signature for name, signature in signatures.items() if name != saved_model.INIT_SIGNATURE}

    def _hand_out(self, array: Array) -> Array:
        return array.copy() if self._options.writable else array

    def _lookup(self, name: str) -> str | None:
        """Return the key for a key, path or full name; None if there is no such tensor or the name is ambiguous."""
        if name in self.reader:
            return name
        if self.object_graph is None:
            return None
        keys = lookup.resolve_keys(self.reader, self.object_graph, name)
        return keys[0] if len(keys) == 1 else None

    def _find_key(self, name: str) -> str:
        """Return the key for a key, path or full name.

        Raises `TensorNotFoundError` if an object-based checkpoint has no such tensor. The reader of a name-based one
        raises it later, since the name is the key.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a tensor must be a str, not {type(name).__name__}")
        key = self._lookup(name)
        if key is None and self.object_graph is not None:
            raise lookup.not_found_error(self.reader, self.object_graph, name, path=self._prefix)
        return name if key is None else key

    def close(self) -> None:
        """Close the files; arrays stay valid. Closing twice has no effect."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
            self._storage.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the address of the checkpoint: unpickling opens it again, so it must be accessible there, too."""
        return _reopen, (self._address, self._options, self._graph)

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
    writable: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    graph: PathLike | None = None,
) -> Checkpoint:
    """Open a checkpoint.

    `path` is a prefix (`dir/model.ckpt-7`), any file of the checkpoint, a `checkpoint` state file, or a folder with
    a checkpoint: the latest one according to the state file, else the only one.
    It can also be a Keras file: `.keras`, `.h5`, `.weights.h5`, or `.weights.json` with its shards.
    It can be a local path, a URL (`https://host/dir/model.ckpt-7`, or any protocol that fsspec supports, such as
    `gs://`), a path in an archive (`weights.tgz`, or `weights.tgz!dir/model.ckpt-7` if it contains several
    checkpoints), or a mapping from file names to bytes.

    With `mmap=False` local files are read instead of memory-mapped. Then every array is a copy, and the process does
    not crash if a file is truncated while an array is in use.

    With `writable=True` every array is a writable copy of its own: changing it changes neither the file nor what is
    read later.

    `graph` is the path or address of a `.meta` file or SavedModel whose graph belongs to the checkpoint, if it has
    another name.

    Raises `CheckpointNotFoundError` if there is no checkpoint, with a message that says what is there instead;
    `CorruptionError` if the index is damaged; `UnsupportedFeatureError` if the format is newer than this reader; and
    `StorageError` if the files cannot be read.
    """
    options = Options(mmap=mmap, writable=writable, limits=limits)
    return Checkpoint(open_reader(path, options), path, options, graph)


def _reopen(path: PathLike | Mapping[str, Buffer], options: Options, graph: str | None = None) -> Checkpoint:
    return open(path, mmap=options.mmap, writable=options.writable, limits=options.limits, graph=graph)
