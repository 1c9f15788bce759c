"""Checkpoints by the functions of `tf.train` (TensorFlow `checkpoint_utils.py` and `py_checkpoint_reader.py`)."""

from __future__ import annotations

import math
from typing import Any

from .._typing import Array, PathLike
from ..bundle import naming
from ..bundle.reader import BundleReader
from ..coding.names import decode_name, encode_name
from ..errors import CorruptionError, join_some
from ..finding import detect
from ..sstable.format import FOOTER_SIZE, is_table
from ..storage.base import Storage
from ..tensors import dtypes
from ..tensors.info import TensorInfo
from ..tensors.reading import TensorReader
from ..v1 import naming as v1_naming
from ..v1.keys import decode_key
from ..v1.reader import V1Reader
from .dtypes import DType, as_dtype
from .errors import (
    UNKNOWN,
    DataLossError,
    InternalError,
    InvalidValueError,
    NotFoundError,
    OpError,
    UnimplementedError,
    as_tensorflow,
)
from .matching import exists, matching
from .paths import as_bytes, as_text, is_folder, place_of
from .state import latest_checkpoint


class CheckpointReader:
    """The tensors of one checkpoint as TensorFlow's reader gives them: arrays are copies that may be written to.

    Safe to use from several threads.
    """

    __slots__ = ("_reader",)

    def __init__(self, filename: str) -> None:
        """Open the checkpoint of a prefix; a V1 prefix may be a pattern of its shards."""
        with as_tensorflow():
            self._reader: TensorReader = _open(*place_of(filename))

    def get_tensor(self, tensor_str: str | bytes) -> Any:
        """The tensor as a NumPy array, a scalar as a NumPy scalar, strings as `bytes`.

        `NotFoundError` if there is none of this name, `DataLossError` if a checksum differs.
        """
        key = as_bytes(tensor_str)
        with as_tensorflow():
            array = self._read(key)
        if array.ndim == 0:
            return array[()]
        if array.flags.owndata:
            array.flags.writeable = True  # nobody else has it
            return array
        return array.copy()

    def has_tensor(self, tensor_str: str | bytes) -> bool:
        """Whether there is a tensor of this name, or a slice under this key."""
        key = as_bytes(tensor_str)
        with as_tensorflow():
            return decode_name(key) in self._reader or self._slice(key) is not None

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """The shape of every tensor by its name, in the order of the names."""
        with as_tensorflow():
            return {_name(info): list(info.shape) for info in self._reader.infos()}

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """The type of every tensor by its name, in the order of the names."""
        with as_tensorflow():
            return {_name(info): _dtype(info) for info in self._reader.infos()}

    def debug_string(self) -> bytes:
        """A line for each tensor: name, type and shape. V2 has a line for each slice, V1 the number of slices."""
        with as_tensorflow():
            if self._reader.format == "V2":
                lines = [line for info in self._reader.infos() for line in _lines(info)]
                return b"".join(key + rest for key, rest in sorted(lines))
            return b"".join(_v1_line(info) for info in self._reader.infos())

    def _read(self, key: bytes) -> Array:
        name = decode_name(key)
        if name not in self._reader:
            piece = self._slice(key)
            if piece is None:
                raise NotFoundError(None, None, self._not_found(key), tensor=name)
            return self._reader.read(piece[0], index=piece[1])
        info = self._reader.info(name)
        if info.tf_dtype == "DT_VARIANT":
            raise InternalError(
                None, None, f"Tensorflow type {dtypes.VARIANT} not convertible to numpy dtype.", tensor=name
            )
        if self._reader.format == "V2":
            _check_slices(info)
        return self._reader.read(name)

    def _slice(self, key: bytes) -> tuple[str, tuple[slice, ...]] | None:
        """The tensor and the index of the slice that a V2 checkpoint keeps under a key."""
        if not key.startswith(b"\0") or self._reader.format != "V2":
            return None
        try:
            name, piece = decode_key(key)
        except CorruptionError:
            return None
        if decode_name(name) not in self._reader:
            return None
        info = self._reader.info(decode_name(name))
        return (info.name, piece.index(info.shape)) if piece in info.slices else None

    def _not_found(self, key: bytes) -> str:
        if self._reader.format == "V2":
            return (b"Key " + key + b" not found in checkpoint").decode("utf-8")
        return (key + b" not found in checkpoint file").decode("utf-8")


def NewCheckpointReader(filepattern: str | bytes) -> CheckpointReader:  # noqa: N802 TensorFlow's name
    """A reader of the checkpoint of a prefix.

    Raises `NotFoundError` where there is none, `DataLossError` where something else stands or its index is damaged.
    """
    return CheckpointReader(as_text(filepattern))


@as_tensorflow()
def load_checkpoint(ckpt_dir_or_file: PathLike) -> CheckpointReader:
    """A reader of the checkpoint of a prefix, or of the latest checkpoint of a folder.

    Raises `ValueError` for a folder whose state file names no checkpoint that is there.
    """
    path = ckpt_dir_or_file
    if is_folder(path):
        latest = latest_checkpoint(path)
        if latest is None:
            raise ValueError(f"Couldn't find 'checkpoint' file or checkpoints in given directory {path}")
        path = latest
    return NewCheckpointReader(as_text(path, or_path=True))


def load_variable(ckpt_dir_or_file: PathLike, name: str) -> Any:
    """One tensor of a checkpoint; a name may end with `:0`, as those of graphs do."""
    if name.endswith(":0"):
        name = name[:-2]
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name)


def list_variables(ckpt_dir_or_file: PathLike) -> list[tuple[str, list[int]]]:
    """Name and shape of every tensor, sorted by name."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def _open(storage: Storage, pattern: str) -> TensorReader:
    """The reader of what a prefix means to TensorFlow: V2 if there is an index file, else V1."""
    index = naming.index_name(pattern)
    if storage.is_file(index):
        return BundleReader(storage, pattern)
    if matching(storage, index):
        raise OpError(None, None, f"{index}; No such file or directory", UNKNOWN, path=index)
    paths = [pattern] if pattern and exists(storage, pattern) else matching(storage, pattern)
    if not paths:
        raise NotFoundError(
            None,
            None,
            f"Unsuccessful TensorSliceReader constructor: Failed to find any matching files for {pattern}",
            path=pattern,
        )
    for path in paths:
        _check_v1(storage, path)
    return V1Reader(storage, _one_prefix(pattern, paths))


def _check_v1(storage: Storage, path: str) -> None:
    """Refuse what is no table of a V1 checkpoint, in TensorFlow's words where it refuses the same."""
    if storage.is_folder(path):
        raise _not_a_table(path, f"FAILED_PRECONDITION: {path}; Is a directory")
    source = storage.open(path)
    try:
        if source.size < FOOTER_SIZE:
            raise _not_a_table(path, "DATA_LOSS: file is too short to be an sstable")
        if not is_table(source):
            raise _not_a_table(path, "DATA_LOSS: not an sstable (bad magic number)")
        found = detect.format_of_table(source)
    finally:
        source.close()
    if found == detect.V2:
        prefix = path.removesuffix(naming.INDEX_SUFFIX)
        meant = f"; open {prefix}" if prefix != path else ""
        raise NotFoundError(
            None, None, f"{path} is the index file of a checkpoint and not the checkpoint's prefix{meant}", path=path
        )


def _not_a_table(path: str, reason: str) -> OpError:
    return DataLossError(
        None,
        None,
        f"Unable to open table file {path}: {reason}: perhaps your file is in a different file format and you need to "
        "use a different restore operator?",
        path=path,
    )


def _one_prefix(pattern: str, paths: list[str]) -> str:
    """The V1 prefix whose files are those that a pattern matches."""
    if len(paths) == 1:
        return paths[0]
    shards = [v1_naming.parse_shard(path) for path in paths]
    sets = {(shard[0], shard[2]) for shard in shards if shard is not None}
    if None in shards or len(sets) != 1:
        raise NotFoundError(
            None,
            None,
            f"{pattern} matches {len(paths)} files that are not the shards of one checkpoint: {join_some(paths)}",
            path=pattern,
        )
    return v1_naming.pattern_name(*sets.pop())


def _name(info: TensorInfo) -> str:
    """The name of a tensor; `UnicodeDecodeError` for one that is not UTF-8, as in TensorFlow."""
    return info.name if info.name.isascii() else info.name.encode("utf-8", "surrogateescape").decode("utf-8")


def _dtype(info: TensorInfo) -> DType:
    try:
        return as_dtype(dtypes.data_type_named(info.tf_dtype).number)
    except ValueError:
        raise UnimplementedError(
            None, None, f"{info.name} has a data type that is not known", tensor=info.name
        ) from None


def _check_slices(info: TensorInfo) -> None:
    """Refuse a tensor of which slices are missing, in TensorFlow's words."""
    if info.slices and sum(math.prod(piece.shape(info.shape)) for piece in info.slices) < info.size:
        whole = ":".join("-" * len(info.shape))
        raise InvalidValueError(
            f"Does not have sufficient slices for partitioned tensor {info.name} to restore in slice_spec: {whole}"
        )


def _lines(info: TensorInfo) -> list[tuple[bytes, bytes]]:
    """Key and the rest of the line of every entry that holds bytes of a tensor."""
    key = encode_name(info.name)
    assert key is not None, "the name came from bytes"
    if not info.slices:
        return [(key, _kind(info, info.shape) + b"\n")]
    return [(piece.key(key), _kind(info, piece.shape(info.shape)) + b"\n") for piece in info.slices]


def _v1_line(info: TensorInfo) -> bytes:
    key = encode_name(info.name)
    assert key is not None, "the name came from bytes"
    slices = f", {len(info.slices)} slices".encode() if len(info.slices) > 1 else b""
    return key + _kind(info, info.shape) + slices + b"\n"


def _kind(info: TensorInfo, shape: tuple[int, ...]) -> bytes:
    return f" ({info.tf_dtype}) [{','.join(map(str, shape))}]".encode()
