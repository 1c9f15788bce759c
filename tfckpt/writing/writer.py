"""Writing a checkpoint that TensorFlow loads: tensor by tensor with `Writer`, or a whole mapping with `save`.

Checkpoints are V2 and little-endian.
The files are identical to those that TensorFlow 2.21 writes for the same tensors in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np

from .._typing import Array, ByteView, PathLike
from ..bundle.writer import BundleWriter, check_shard_count
from ..checkpoint import Checkpoint
from ..errors import join_some, pluralize, printable
from ..finding.state_file import read_state, update_state
from ..graphs.object_graph import GRAPH_KEY, read_graph_payload
from ..graphs.object_graph_writer import BuiltGraph, GraphSource
from ..storage.local import LocalStorage
from ..tensors.dense import encode_dense
from ..tensors.dtypes import DataType, data_type_named, data_type_of
from ..tensors.slices import TensorSlice
from ..tensors.strings import encode_strings

#: Whether the state file of the folder names the new checkpoint, alone or, for "keep", after those it already names.
StateUpdate: TypeAlias = bool | Literal["keep"]


class Writer:
    """A checkpoint that is being written; use it as a context manager.

    The checkpoint appears at the end of the block. After an exception nothing has changed.
    Payloads are written to disk immediately, so only one tensor is in memory.
    A writer must not be used from several threads.
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
        """Begin a checkpoint with `shards` data shards, at most one for each tensor if `add` is not told the shard.

        Every payload begins at a multiple of `alignment` bytes; TensorFlow's own checkpoints have 1.
        `checkpoint_state` is whether the state file, `checkpoint`, names the new checkpoint as the latest: alone, as
        after `tf.train.Checkpoint.save`, or, for "keep", after those that it already names.
        `durable=False` does not wait for the disk, like TensorFlow. It is about twice as fast, and as safe if the
        process is killed, but not if the power fails.

        Raises `CheckpointExistsError` if the checkpoint exists and `overwrite` is not set,
        `CheckpointNotFoundError` if the folder does not exist, and `WriteError` if another writer uses the prefix.
        """
        if checkpoint_state not in (True, False, "keep"):
            raise ValueError(f"checkpoint_state must be True, False or 'keep', not {checkpoint_state!r}")
        self._prefix = os.fspath(prefix)
        if checkpoint_state == "keep":
            read_state(LocalStorage(), os.path.dirname(self._prefix))  # fail before writing if it is damaged
        self._checkpoint_state = checkpoint_state
        self._bundle = BundleWriter(
            self._prefix, shards=shards, alignment=alignment, durable=durable, overwrite=overwrite
        )

    @property
    def prefix(self) -> str:
        """The prefix of the new checkpoint."""
        return self._prefix

    def add(self, name: str, array: object, *, tf_dtype: str | None = None, shard: int | None = None) -> None:
        """Write a tensor.

        `array` is a NumPy array or scalar, or an object that has a dtype and converts to an array.
        Strings are object arrays of `bytes`, or a single `bytes`.
        `tf_dtype` is a quantized type, such as qint8 or DT_QINT8, if the array holds the integers of one.
        By default the tensor goes to the data shard with the fewest bytes so far.

        Raises `TypeError` for values that TensorFlow has no type for, and `ValueError` for an invalid name or one that
        is already used. The writer can be used after either.
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
        Slices can be written in any order; at the end they must cover the tensor without overlap.
        TensorFlow 2.21 writes slices of every type, but joins or divides them only for some, float16 and strings not
        among them (docs/writing.md): other types it restores only slice by slice, as they were written.
        """
        _check_name(name)
        piece = TensorSlice.parse(piece) if isinstance(piece, str) else piece
        data_type, values = to_values(name, array, tf_dtype)
        expected = piece.shape(full_shape)
        if values.shape != expected:
            raise ValueError(
                f"{printable(name)!r}: slice {piece} of shape {list(full_shape)} has shape {list(expected)}, "
                f"but the array has shape {list(values.shape)}"
            )
        payload, checksum = encode(name, values, data_type)
        self._bundle.add_slice(name, data_type, full_shape, piece, payload, checksum=checksum, shard=shard)

    def close(self) -> None:
        """Move the checkpoint into place: data shards, index, then the state file.

        Raises `ValueError`, and writes nothing, if slices of a tensor are missing or there are too many shards.
        """
        try:
            self._bundle.check_shards()
        except ValueError:
            self.abort()
            raise
        self._bundle.finish()
        if self._checkpoint_state:
            update_state(self._prefix, keep_older=self._checkpoint_state == "keep")

    def abort(self) -> None:
        """Remove what has been written; does nothing after `close`."""
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
    """Write a checkpoint that TensorFlow loads, and return its prefix.

    `tensors` are names and arrays, written in this order: a dict, another `Checkpoint`, or an iterable of pairs.
    Only one array of a `Checkpoint` or a generator is in memory at a time.
    See `Writer` for the arrays it accepts and for the other options.

    With `object_graph` the checkpoint is object-based, and `tf.train.Checkpoint` restores it.
    True builds the graph from the names, which are then object paths such as `net/layers/0/kernel`.
    A `save_counter` of 1 is added if it is missing, because `tf.train.Checkpoint.restore` expects it.
    If it is an open checkpoint, its graph is copied, and the names must be all its keys or object paths.

    Raises what `Writer` and `Writer.add` raise; nothing has changed on disk then.
    """
    pairs = tensors.items() if isinstance(tensors, Mapping) else tensors
    types = tensors if isinstance(tensors, Checkpoint) else None
    graph = _select_graph(object_graph)
    if isinstance(tensors, Mapping) and graph is None:
        check_shard_count(shards, len(tensors))
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
    """The unchanged graph of another checkpoint, for the same set of tensors."""

    def __init__(self, source: Checkpoint) -> None:
        """Read the graph of an open checkpoint; `ValueError` if it has none."""
        self._payload = read_graph_payload(source.reader, source.prefix)
        self._source = source
        self._missing = dict.fromkeys(name for name in source if name != GRAPH_KEY)

    def add(self, name: str) -> str:
        """Return the key for a key, an object path or a full name in the source."""
        key = self._source.info(name).name
        self._missing.pop(key, None)
        return key

    def finish(self) -> dict[str, object]:
        """Return the stored graph; `ValueError` unless all tensors of the source were added."""
        if self._missing:
            missing = list(self._missing)
            raise ValueError(
                f"the object graph of {printable(self._source.prefix)} has {pluralize(len(missing), 'more tensor')}: "
                f"{join_some(missing)}"
            )
        return {GRAPH_KEY: self._payload}


def _select_graph(object_graph: Checkpoint | bool | None) -> GraphSource | None:
    if isinstance(object_graph, Checkpoint):
        return CopiedGraph(object_graph)
    if object_graph not in (None, False, True):
        raise TypeError(f"object_graph must be an open Checkpoint, True or None, not {type(object_graph).__name__}")
    return BuiltGraph() if object_graph else None


def _check_name(name: str) -> None:
    if isinstance(name, str) and name.startswith("\0"):
        raise ValueError(f"the name {printable(name)!r} begins with a zero byte, which marks keys of tensor slices")


def to_values(name: str, value: object, tf_dtype: str | None) -> tuple[DataType, Array]:
    """Convert a value to an array and the type to store it as; `TypeError` if TensorFlow has no type for it."""
    if isinstance(value, bytes):
        array: Array = np.empty((), object)
        array[()] = value
    elif isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{printable(name)!r} is a masked array, and checkpoints cannot store masks")
    elif hasattr(value, "__array__"):
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            kind = type(value).__name__
            raise TypeError(f"{printable(name)!r} is a {kind} that does not convert to an array: {error}") from error
    else:  # 0.5 would be float32 for TensorFlow and float64 for NumPy, and a wrong guess is noticed late
        raise TypeError(
            f"{printable(name)!r} is a {type(value).__name__}, expected a NumPy array; "
            "the dtype is never guessed, so write np.float32(0.5) for example"
        )
    try:
        default = data_type_of(array.dtype)
        data_type = default if tf_dtype is None else data_type_named(tf_dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{printable(name)!r}: {error}") from None
    if default.numpy_name != data_type.numpy_name:
        raise TypeError(f"{printable(name)!r}: an array of {array.dtype} cannot be stored as {data_type.name}")
    if name == GRAPH_KEY and not (data_type.is_string and array.shape == ()):
        raise ValueError(f"{name} is the name of the object graph, a single string")
    return data_type, array


def encode(name: str, array: Array, data_type: DataType) -> tuple[ByteView | bytes, int | None]:
    """Return the payload of an array, and its checksum if it is not the CRC-32C of the payload."""
    if not data_type.is_string:
        return encode_dense(array, data_type), None
    values: list[Any] = array.ravel().tolist()
    for value in values:
        if not isinstance(value, bytes):
            hint = "; encode it first" if isinstance(value, str) else ""
            raise TypeError(f"{printable(name)!r} holds a {type(value).__name__}, expected bytes{hint}")
    return encode_strings(values)
