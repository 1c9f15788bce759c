"""The checkpoint reader of `tf.train` (TensorFlow `checkpoint_utils.py` and `py_checkpoint_reader.py`)."""

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
from .matching import exists, find_matches
from .paths import as_bytes, as_text, is_folder, resolve_path
from .state import latest_checkpoint


class CheckpointReader:
    """The tensors of a checkpoint in the form that TensorFlow's reader returns: arrays are writable copies.

    A reader may be used from several threads.
    """

    __slots__ = ("_reader",)

    def __init__(self, filename: str) -> None:
        """Open the checkpoint with this prefix; for V1 it may be a pattern that matches the shards."""
        with as_tensorflow():
            self._reader: TensorReader = _open(*resolve_path(filename))

    def get_tensor(self, tensor_str: str | bytes) -> Any:
        """Return a tensor as a NumPy array, a scalar as a NumPy scalar, and strings as `bytes`.

        Raises `NotFoundError` if there is no such tensor, and `DataLossError` if a checksum differs.
        """
        key = as_bytes(tensor_str)
        with as_tensorflow():
            array = self._read(key)
        if array.ndim == 0:
            return array[()]
        if array.flags.owndata:
            array.flags.writeable = True  # there is no other reference to it
            return array
        return array.copy()

    def has_tensor(self, tensor_str: str | bytes) -> bool:
        """Return whether there is a tensor with this name, or a slice with this key."""
        key = as_bytes(tensor_str)
        with as_tensorflow():
            return decode_name(key) in self._reader or self._find_slice(key) is not None

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Return the shape of each tensor by name, in the order of the names."""
        with as_tensorflow():
            return {_name(info): list(info.shape) for info in self._reader.infos()}

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """Return the type of each tensor by name, in the order of the names."""
        with as_tensorflow():
            return {_name(info): _dtype(info) for info in self._reader.infos()}

    def debug_string(self) -> bytes:
        """Return a line for each tensor with name, type and shape; V2 has a line for each slice, V1 their number."""
        with as_tensorflow():
            if self._reader.format == "V2":
                lines = [line for info in self._reader.infos() for line in _lines(info)]
                return b"".join(key + rest for key, rest in sorted(lines))
            return b"".join(_v1_line(info) for info in self._reader.infos())

    def _read(self, key: bytes) -> Array:
        name = decode_name(key)
        if name not in self._reader:
            piece = self._find_slice(key)
            if piece is None:
                raise NotFoundError(None, None, self._not_found_message(key), tensor=name)
            return self._reader.read(piece[0], index=piece[1])
        info = self._reader.info(name)
        if info.tf_dtype == "DT_VARIANT":
            raise InternalError(
                None, None, f"Tensorflow type {dtypes.VARIANT} not convertible to numpy dtype.", tensor=name
            )
        if self._reader.format == "V2":
            _check_slices(info)
        return self._reader.read(name)

    def _find_slice(self, key: bytes) -> tuple[str, tuple[slice, ...]] | None:
        """Return the tensor and the index of the slice with this key in a V2 checkpoint, or None."""
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

    def _not_found_message(self, key: bytes) -> str:
        if self._reader.format == "V2":
            return (b"Key " + key + b" not found in checkpoint").decode("utf-8")
        return (key + b" not found in checkpoint file").decode("utf-8")


def NewCheckpointReader(filepattern: str | bytes) -> CheckpointReader:  # noqa: N802 TensorFlow's name
    """Return a reader of the checkpoint with this prefix.

    Raises `NotFoundError` if there is none, and `DataLossError` if it is another kind of file or its index is damaged.
    """
    return CheckpointReader(as_text(filepattern))


@as_tensorflow()
def load_checkpoint(ckpt_dir_or_file: PathLike) -> CheckpointReader:
    """Return a reader of the checkpoint with this prefix, or of the latest checkpoint in a folder.

    Raises `ValueError` if the latest checkpoint of a folder does not exist or the folder has no state file.
    """
    path = ckpt_dir_or_file
    if is_folder(path):
        latest = latest_checkpoint(path)
        if latest is None:
            raise ValueError(f"Couldn't find 'checkpoint' file or checkpoints in given directory {path}")
        path = latest
    return NewCheckpointReader(as_text(path, or_path=True))


@as_tensorflow()
def read_part(reader: CheckpointReader, name: str, index: tuple[slice, ...]) -> Array:
    """Return a part of a tensor as a read-only array; TensorFlow has no such function."""
    return reader._reader.read(name, index=index)


def load_variable(ckpt_dir_or_file: PathLike, name: str) -> Any:
    """Read one tensor of a checkpoint; the name may end with `:0`, like names of tensors in graphs."""
    if name.endswith(":0"):
        name = name[:-2]
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name)


def list_variables(ckpt_dir_or_file: PathLike) -> list[tuple[str, list[int]]]:
    """Return the name and shape of each tensor, sorted by name."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def _open(storage: Storage, pattern: str) -> TensorReader:
    """Open a prefix or pattern as TensorFlow does: V2 if there is an index file, otherwise V1."""
    index = naming.index_name(pattern)
    if storage.is_file(index):
        return BundleReader(storage, pattern)
    if find_matches(storage, index):
        raise OpError(None, None, f"{index}; No such file or directory", UNKNOWN, path=index)
    paths = [pattern] if pattern and exists(storage, pattern) else find_matches(storage, pattern)
    if not paths:
        raise NotFoundError(
            None,
            None,
            f"Unsuccessful TensorSliceReader constructor: Failed to find any matching files for {pattern}",
            path=pattern,
        )
    for path in paths:
        _check_v1(storage, path)
    return V1Reader(storage, _find_v1_prefix(pattern, paths))


def _check_v1(storage: Storage, path: str) -> None:
    """Raise unless a file is a V1 table, with TensorFlow's message if it refuses the file as well."""
    if storage.is_folder(path):
        raise _not_a_table(path, f"FAILED_PRECONDITION: {path}; Is a directory")
    source = storage.open(path)
    try:
        if source.size < FOOTER_SIZE:
            raise _not_a_table(path, "DATA_LOSS: file is too short to be an sstable")
        if not is_table(source):
            raise _not_a_table(path, "DATA_LOSS: not an sstable (bad magic number)")
        table_format = detect.format_of_table(source)
    finally:
        source.close()
    if table_format == detect.V2:
        prefix = path.removesuffix(naming.INDEX_SUFFIX)
        hint = f"; open {prefix}" if prefix != path else ""
        raise NotFoundError(
            None, None, f"{path} is the index file of a checkpoint, not the prefix of the checkpoint{hint}", path=path
        )


def _not_a_table(path: str, reason: str) -> OpError:
    return DataLossError(
        None,
        None,
        f"Unable to open table file {path}: {reason}: perhaps your file is in a different file format and you need to "
        "use a different restore operator?",
        path=path,
    )


def _find_v1_prefix(pattern: str, paths: list[str]) -> str:
    """Return the V1 prefix for the files that a pattern matches."""
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
    """Return the name of a tensor; `UnicodeDecodeError` if it is not UTF-8, as in TensorFlow."""
    return info.name if info.name.isascii() else info.name.encode("utf-8", "surrogateescape").decode("utf-8")


def _dtype(info: TensorInfo) -> DType:
    try:
        return as_dtype(dtypes.data_type_named(info.tf_dtype).number)
    except ValueError:
        raise UnimplementedError(None, None, f"{info.name} has an unknown data type", tensor=info.name) from None


def _check_slices(info: TensorInfo) -> None:
    """Raise TensorFlow's error if slices of a tensor are missing."""
    if info.slices and sum(math.prod(piece.shape(info.shape)) for piece in info.slices) < info.size:
        whole = ":".join("-" * len(info.shape))
        raise InvalidValueError(
            f"Does not have sufficient slices for partitioned tensor {info.name} to restore in slice_spec: {whole}"
        )


def _lines(info: TensorInfo) -> list[tuple[bytes, bytes]]:
    """Return the key and the rest of the line for each entry with a payload of a tensor."""
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
