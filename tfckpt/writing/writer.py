"""Writing a checkpoint that TensorFlow loads: tensor by tensor with `Writer`, or a whole mapping with `save`.

Only V2 is written, little-endian.
The same tensors in the same order give the bytes that TensorFlow 2.21 gives them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np

from .._typing import Array, ByteView, PathLike
from ..bundle.writer import BundleWriter
from ..checkpoint import Checkpoint
from ..errors import join_some, pluralize, printable
from ..finding import state_file as state
from ..graphs.object_graph import GRAPH_KEY, read_graph_payload
from ..graphs.object_graph_writer import BuiltGraph, GraphSource
from ..storage.local import LocalStorage
from ..tensors.dense import encode_dense
from ..tensors.dtypes import DataType, data_type_named, data_type_of
from ..tensors.slices import TensorSlice
from ..tensors.strings import encode_strings

#: Whether the `checkpoint` file of the folder is to name the new checkpoint; "keep": beside those it names already.
StateUpdate: TypeAlias = bool | Literal["keep"]


class Writer:
    """A checkpoint while it is being written; use it as a context manager.

    Nothing stands under the prefix before the block ends without an exception; an exception leaves all as it was.
    Payloads go to the disk as they come, so memory stays at one tensor.
    Not for use from several threads.
    """

    def __init__(
        self,
        prefix: PathLike,
        *,
        shards: int = 1,
        alignment: int = 1,
        checkpoint_state: StateUpdate = True,
        durable: bool = True,
        overwrite: bool = False,
    ) -> None:
        """Begin a checkpoint of `shards` data files.

        `alignment` makes every payload begin at a multiple of so many bytes; TensorFlow's own checkpoints have 1.
        `checkpoint_state` says whether the `checkpoint` file of the folder names the new checkpoint as the latest:
        alone, as `tf.train.Checkpoint.save` does, or with "keep" beside those it names already.
        `durable=False` does not wait for the disk, as TensorFlow does not: about twice as fast, and as safe when the
        process is killed, but not when the power fails.

        Raises `CheckpointExistsError` if something stands there and `overwrite` is not set,
        `CheckpointNotFoundError` if the folder does not exist, and `WriteError` if another writer is at work there.
        """
        if checkpoint_state not in (True, False, "keep"):
            raise ValueError(f"checkpoint_state is True, False or 'keep', not {checkpoint_state!r}")
        self._prefix = os.fspath(prefix)
        if checkpoint_state == "keep":
            state.read_state(LocalStorage(), os.path.dirname(self._prefix))  # what cannot be kept is an error now
        self._checkpoint_state = checkpoint_state
        self._bundle = BundleWriter(
            self._prefix, shards=shards, alignment=alignment, durable=durable, overwrite=overwrite
        )

    @property
    def prefix(self) -> str:
        """The path that the checkpoint's files will share."""
        return self._prefix

    def add(self, name: str, array: object, *, tf_dtype: str | None = None, shard: int | None = None) -> None:
        """Write a tensor.

        `array` is a NumPy array or scalar, or anything that becomes one without a guess about its dtype.
        Strings are object arrays of `bytes`, or one `bytes`.
        `tf_dtype` names a quantized type, such as qint8 or DT_QINT8, that an integer array holds the payload of.
        Without `shard` the tensor goes to the data shard that has the fewest bytes so far.

        Raises `TypeError` for values TensorFlow has no type for, `ValueError` for a name that is none or was used.
        After either the writer goes on.
        """
        _check_name(name)
        self._bundle.check_name(name)
        data_type, values = to_values(name, array, tf_dtype)
        payload, checksum = encode(name, values, data_type)
        self._bundle.add(name, data_type, values.shape, payload, checksum=checksum, shard=shard)

    def add_slice(
        self,
        name: str,
        array: object,
        full_shape: Sequence[int],
        piece: TensorSlice | str,
        *,
        tf_dtype: str | None = None,
        shard: int | None = None,
    ) -> None:
        """Write one slice of a partitioned variable of shape `full_shape`.

        `piece` is a slice or its text, such as `0,2:-` for the first two rows.
        The slices of a tensor come in any order; before the end they must cover it without overlap.
        """
        _check_name(name)
        piece = TensorSlice.parse(piece) if isinstance(piece, str) else piece
        data_type, values = to_values(name, array, tf_dtype)
        expected = piece.shape(full_shape)
        if values.shape != expected:
            raise ValueError(
                f"{printable(name)!r}: slice {piece} of shape {list(full_shape)} has shape {list(expected)}, "
                f"the array has {list(values.shape)}"
            )
        payload, checksum = encode(name, values, data_type)
        self._bundle.add_slice(name, data_type, full_shape, piece, payload, checksum=checksum, shard=shard)

    def close(self) -> None:
        """Put the checkpoint in place: data shards, index, then the `checkpoint` file."""
        self._bundle.finish()
        if self._checkpoint_state:
            state.update_state(self._prefix, keep_older=self._checkpoint_state == "keep")

    def abort(self) -> None:
        """Give up and remove what has been written; harmless after `close`."""
        self._bundle.abort()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        elif self._bundle.is_open:
            self.close()


def save(
    tensors: Mapping[str, object] | Iterable[tuple[str, object]],
    prefix: PathLike,
    *,
    shards: int = 1,
    alignment: int = 1,
    object_graph: Checkpoint | bool | None = None,
    checkpoint_state: StateUpdate = True,
    durable: bool = True,
    overwrite: bool = False,
) -> str:
    """Write a checkpoint that TensorFlow loads; gives the prefix.

    `tensors` are names and arrays, written in their order, each read when its turn comes:
    a dict, another `Checkpoint`, or a generator of pairs, of which only one array is in memory at a time.
    For what an array may be, and for the options not named here, see `Writer`.

    With `object_graph` the checkpoint becomes one that `tf.train.Checkpoint` restores.
    True builds the graph from the names, which are then object paths such as `net/layers/0/kernel`;
    a `save_counter` of 1 is added if there is none, as `tf.train.Checkpoint.save` does and its `restore` expects.
    An open object-based checkpoint gives its own graph; the names are then its keys or object paths, all of them.

    Raises what `Writer` and `Writer.add` raise; nothing stands under the prefix then that did not stand there before.
    """
    pairs = tensors.items() if isinstance(tensors, Mapping) else tensors
    types = tensors if isinstance(tensors, Checkpoint) else None
    graph = _keys_of(object_graph)
    with Writer(
        prefix,
        shards=shards,
        alignment=alignment,
        checkpoint_state=checkpoint_state,
        durable=durable,
        overwrite=overwrite,
    ) as writer:
        for name, array in pairs:
            tf_dtype = None if types is None else types.info(name).tf_dtype
            writer.add(name if graph is None else graph.add(name), array, tf_dtype=tf_dtype)
        if graph is not None:
            for key, value in graph.finish().items():
                writer.add(key, value)
    return writer.prefix


class CopiedGraph:
    """The graph of another checkpoint, as it is, for the same set of tensors."""

    def __init__(self, source: Checkpoint) -> None:
        """`source` is object-based and open; `ValueError` if it has no object graph."""
        self._payload = read_graph_payload(source.reader, source.prefix)
        self._source = source
        self._missing = dict.fromkeys(name for name in source if name != GRAPH_KEY)

    def add(self, name: str) -> str:
        """The key that a key, an object path or a full name means there."""
        key = self._source.info(name).name
        self._missing.pop(key, None)
        return key

    def finish(self) -> dict[str, object]:
        """The graph as it was stored, once every key of its checkpoint was given."""
        if self._missing:
            missing = list(self._missing)
            raise ValueError(
                f"the object graph of {printable(self._source.prefix)} needs {pluralize(len(missing), 'more tensor')}: "
                f"{join_some(missing)}"
            )
        return {GRAPH_KEY: self._payload}


def _keys_of(object_graph: Checkpoint | bool | None) -> GraphSource | None:
    if isinstance(object_graph, Checkpoint):
        return CopiedGraph(object_graph)
    if object_graph not in (None, False, True):
        raise TypeError(f"object_graph is an open Checkpoint, True or None, not {type(object_graph).__name__}")
    return BuiltGraph() if object_graph else None


def _check_name(name: str) -> None:
    if isinstance(name, str) and name.startswith("\0"):
        raise ValueError(f"the name {printable(name)!r} begins with a zero byte, as only keys of tensor slices should")


def to_values(name: str, value: object, tf_dtype: str | None) -> tuple[DataType, Array]:
    """The array of a value, and the type it is to be stored as; `TypeError` where TensorFlow has none for it."""
    if isinstance(value, bytes):
        array: Array = np.empty((), object)
        array[()] = value
    elif isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{printable(name)!r} is a masked array, and checkpoints have no masks")
    elif hasattr(value, "__array__"):
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"{printable(name)!r} is a {type(value).__name__} that gives no array: {error}") from error
    else:
        raise TypeError(
            f"{printable(name)!r} is a {type(value).__name__}, expected a NumPy array: "
            "a dtype is never guessed, np.float32(0.5) says it"
        )
    try:
        natural = data_type_of(array.dtype)
        data_type = natural if tf_dtype is None else data_type_named(tf_dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{printable(name)!r}: {error}") from None
    if natural.numpy_name != data_type.numpy_name:
        raise TypeError(f"{printable(name)!r}: an array of {array.dtype} cannot be stored as {data_type.name}")
    return data_type, array


def encode(name: str, array: Array, data_type: DataType) -> tuple[ByteView | bytes, int | None]:
    """The payload of an array, and its checksum where that is not the crc32c of its bytes."""
    if not data_type.is_string:
        return encode_dense(array, data_type), None
    values: list[Any] = array.ravel().tolist()
    for value in values:
        if not isinstance(value, bytes):
            hint = "; encode it first" if isinstance(value, str) else ""
            raise TypeError(f"{printable(name)!r} holds a {type(value).__name__}, expected bytes{hint}")
    return encode_strings(values)
