"""NumPy's own archive of arrays: a zip of uncompressed `.npy` files, one a tensor, which `numpy.load` opens.

The metadata of the output is an array of its own, `__metadata__`: JSON as bytes.
The format has no name for the types of ml_dtypes, bfloat16 among them, and is refused for those.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from tfckpt._typing import ByteSource, ByteView
from tfckpt.errors import (
    CheckpointNotFoundError,
    CorruptionError,
    LimitExceededError,
    StorageError,
    error_context,
    printable,
)
from tfckpt.files.json_text import read_json
from tfckpt.files.npy import npy_array
from tfckpt.limits import DEFAULT_LIMITS
from tfckpt.storage.archives import zip as zip_format
from tfckpt.storage.archives.compression import Allowance, Unpacker
from tfckpt.storage.archives.kinds import archive_kind
from tfckpt.storage.archives.zip import ZipMember
from tfckpt.storage.local import LocalStorage

from .._typing import Array, PathLike, Progress
from ..errors import ExportError
from .output import METADATA_NAME, Output, TensorFile, made, require_names

#: Kinds of NumPy dtypes that are numbers.
_KINDS = "biufc"
#: Of a tensor, in bytes: a zip archive counts those of a member's name in 16 bits.
_LONGEST_NAME = 0xFFFF - len(".npy")
#: The first date that a zip can hold, so that the same conversion gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


def write(output: Output, file: BinaryIO, *, progress: Progress | None = None) -> None:
    """Write one tensor after the other."""
    for name, tensor in output.tensors.items():
        if tensor.dtype.kind == "V" or tensor.dtype.name not in np.sctypeDict:
            raise ExportError(
                f".npz has no dtype {tensor.dtype.name}, which tensor {printable(name)} has; use .safetensors"
            )
    require_names(output.tensors, ".npz", longest=_LONGEST_NAME)
    done, total = 0, output.nbytes
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, tensor in output.tensors.items():
            array = made(tensor)
            _add(archive, name, array)
            done += array.nbytes
            if progress is not None:
                progress(done, total)
        _add(archive, METADATA_NAME, np.frombuffer(json.dumps(output.metadata()).encode(), np.uint8))


def read(path: PathLike) -> TensorFile:
    """Read all tensors: views of the file's memory map where they are not compressed, as `numpy.savez` leaves them.

    What the directory and the arrays claim is compared with the file before it is used, and checksums are.
    Arrays of objects are refused, since they would have to be unpickled.
    """
    path = os.fspath(path)
    try:
        source = LocalStorage().open(path)
    except StorageError as error:
        raise CheckpointNotFoundError(error.message, path=path) from error
    with contextlib.closing(source), error_context(path=path), _limited():
        if archive_kind(source) != "zip":
            raise CorruptionError("no archive of arrays (.npz)")
        allowance = Allowance(source.size, DEFAULT_LIMITS)
        arrays: dict[str, Array] = {}
        for member in zip_format.read_members(source, DEFAULT_LIMITS):
            name = member.name.removesuffix(".npy")
            if name == member.name or name in arrays:
                raise CorruptionError(f"{member.name!r} is no array of a name of its own")
            with error_context(tensor=name):
                arrays[name] = array = npy_array(_contents(source, member, allowance))
                if array.dtype.kind not in _KINDS:
                    raise CorruptionError(f"array of dtype {array.dtype}, expected numbers")
    return TensorFile(arrays, _metadata(arrays.pop(METADATA_NAME, None), path))


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Say of a limit that arrays run into, and which nobody can raise here, what it means."""
    try:
        yield
    except LimitExceededError as error:
        raise CorruptionError(
            f"no archive of weights: it claims {error.claimed}, beyond {error.limit}={error.maximum}"
        ) from error


def _contents(source: ByteSource, member: ZipMember, allowance: Allowance) -> ByteView:
    """The bytes of a member, unpacked, with the checksum they should have."""
    if member.is_encrypted or member.method not in (zip_format.STORED, zip_format.DEFLATED):
        raise CorruptionError(f"member that is encrypted or packed with method {member.method}, not 0 or 8")
    offset, size = zip_format.contents(source, member)
    if member.method == zip_format.STORED:
        contents = source.read(offset, size)
    else:
        unpacked = bytearray()
        unpacker = Unpacker(source, "deflate", allowance, offset=offset, size=size)
        while len(unpacked) <= member.size and (piece := unpacker.piece()):
            unpacked += piece
        contents = memoryview(unpacked).toreadonly()
    crc32 = zlib.crc32(contents)
    if (len(contents), crc32) != (member.size, member.crc32):
        raise CorruptionError(
            f"member of {len(contents)} bytes with crc32 {crc32:#010x}, "
            f"the archive says {member.size} with {member.crc32:#010x}"
        )
    return contents


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray[Any, np.dtype[Any]]) -> None:
    with archive.open(zipfile.ZipInfo(f"{name}.npy", _DATE), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


def _metadata(array: np.ndarray[Any, np.dtype[Any]] | None, path: str) -> dict[str, str]:
    if array is None:
        return {}
    try:
        metadata = read_json(array.tobytes())
    except ValueError as error:
        raise CorruptionError(f"{METADATA_NAME} is no JSON ({error})", path=path) from error
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CorruptionError(f"{METADATA_NAME} is no object of strings", path=path)
    return metadata
