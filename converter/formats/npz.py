"""NumPy's archive of arrays: a zip of uncompressed `.npy` files, one a tensor, for `numpy.load`.

The metadata of the output is an array named `__metadata__` with JSON as bytes.
The format has no names for the dtypes of ml_dtypes, such as bfloat16, so they are refused.
`numpy.load` allocates whatever a header claims, so files are read by `tfckpt`'s reader of zip archives.
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
    CorruptionError,
    LimitExceededError,
    error_context,
    printable,
)
from tfckpt.files.json_text import read_json
from tfckpt.files.npy import read_npy
from tfckpt.limits import DEFAULT_LIMITS
from tfckpt.storage.archives import zip as zip_format
from tfckpt.storage.archives.compression import Allowance, Unpacker
from tfckpt.storage.archives.kinds import detect_archive
from tfckpt.storage.archives.zip import ZipMember

from .._typing import Array, PathLike, Progress
from ..errors import ExportError
from .opening import open_weights
from .output import METADATA_NAME, Output, Seal, TensorFile, check_names, materialize

#: Kinds of numeric NumPy dtypes.
_KINDS = "biufc"
#: Longest name of a tensor in bytes; a zip archive stores the length of a member's name in 16 bits.
_LONGEST_NAME = 0xFFFF - len(".npy")
#: The earliest date of the zip format, so that the same conversion gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


def write(output: Output, file: BinaryIO, *, seal: Seal | None = None, progress: Progress | None = None) -> None:
    """Write an output, one tensor at a time; raise `ExportError` for a dtype or a name that `.npz` does not support."""
    for name, tensor in output.tensors.items():
        if tensor.dtype.kind == "V" or tensor.dtype.name not in np.sctypeDict:
            raise ExportError(
                f".npz does not support {tensor.dtype.name}, the dtype of tensor {printable(name)}; use .safetensors"
            )
    check_names(output.tensors, ".npz", longest=_LONGEST_NAME)
    done, total = 0, output.nbytes
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, tensor in output.tensors.items():
            array = materialize(tensor)
            _add(archive, name, array)
            done += array.nbytes
            if progress is not None:
                progress(done, total)
    file.flush()
    metadata = output.metadata() if seal is None else {**output.metadata(), **seal()}
    with zipfile.ZipFile(file, "a") as archive:
        _add(archive, METADATA_NAME, np.frombuffer(json.dumps(metadata).encode(), np.uint8))


def read(path: PathLike) -> TensorFile:
    """Read all tensors: views of the memory map, or copies if they are compressed.

    Claims of the zip directory and of the arrays are compared with the file before they are used, and checksums are
    verified. Arrays of objects are refused, since reading them means unpickling.
    """
    path = os.fspath(path)
    with contextlib.closing(open_weights(path)) as source, error_context(path=path), _limit_errors():
        if detect_archive(source) != "zip":
            raise CorruptionError("not an archive of arrays (.npz)")
        allowance = Allowance(source.size, DEFAULT_LIMITS)
        arrays: dict[str, Array] = {}
        for member in zip_format.read_members(source, DEFAULT_LIMITS):
            name = member.name.removesuffix(".npy")
            if name == member.name or name in arrays:
                raise CorruptionError(f"member {member.name!r} is not a .npy file, or its name occurs twice")
            with error_context(tensor=name):
                arrays[name] = array = read_npy(_read_member(source, member, allowance))
                if array.dtype.kind not in _KINDS:
                    raise CorruptionError(f"array of dtype {array.dtype}, expected numbers")
    return TensorFile(arrays, _parse_metadata(arrays.pop(METADATA_NAME, None), path))


@contextlib.contextmanager
def _limit_errors() -> Iterator[None]:
    """Convert a `LimitExceededError` into a `CorruptionError`, since the caller cannot raise these limits."""
    try:
        yield
    except LimitExceededError as error:
        raise CorruptionError(
            f"not an archive of weights: it claims {error.claimed}, over the limit {error.limit}={error.maximum}"
        ) from error


def _read_member(source: ByteSource, member: ZipMember, allowance: Allowance) -> ByteView:
    """Return the unpacked bytes of a member after comparing them with its checksum."""
    if member.is_encrypted or member.method not in (zip_format.STORED, zip_format.DEFLATED):
        raise CorruptionError(f"member is encrypted or has compression method {member.method}, expected 0 or 8")
    offset, size = zip_format.find_contents(source, member)
    if member.method == zip_format.STORED:
        contents = source.read(offset, size)
    else:
        unpacked = bytearray()
        unpacker = Unpacker(source, "deflate", allowance, offset=offset, size=size)
        while len(unpacked) <= member.size and (piece := unpacker.read_piece()):
            unpacked += piece
        contents = memoryview(unpacked).toreadonly()
    crc32 = zlib.crc32(contents)
    if (len(contents), crc32) != (member.size, member.crc32):
        raise CorruptionError(
            f"member has {len(contents)} bytes with crc32 {crc32:#010x}, "
            f"expected {member.size} with {member.crc32:#010x}"
        )
    return contents


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray[Any, np.dtype[Any]]) -> None:
    with archive.open(zipfile.ZipInfo(f"{name}.npy", _DATE), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


def _parse_metadata(array: np.ndarray[Any, np.dtype[Any]] | None, path: str) -> dict[str, str]:
    if array is None:
        return {}
    try:
        metadata = read_json(array.tobytes())
    except ValueError as error:
        raise CorruptionError(f"{METADATA_NAME} is not valid JSON ({error})", path=path) from error
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CorruptionError(f"{METADATA_NAME} is not a JSON object of strings", path=path)
    return metadata
