"""NumPy's own archive of arrays: a zip of uncompressed `.npy` files, one a tensor, which `numpy.load` opens.

The metadata of the output is an array of its own, `__metadata__`: JSON as bytes.
The format has no name for the types of ml_dtypes, bfloat16 among them, and is refused for those.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from typing import Any, BinaryIO

import numpy as np

from tfckpt.errors import CheckpointNotFoundError, CorruptionError, printable

from ..conversion import PathLike, Progress
from ..errors import ExportError
from .base import Output, TensorFile, made

_METADATA = "__metadata__"
#: The first date that a zip can hold, so that the same conversion gives the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


def write(output: Output, file: BinaryIO, *, progress: Progress | None = None) -> None:
    """Write one tensor after the other."""
    for name, tensor in output.tensors.items():
        if tensor.dtype.kind == "V" or tensor.dtype.name not in np.sctypeDict:
            raise ExportError(
                f".npz has no dtype {tensor.dtype.name}, which tensor {printable(name)} has; use .safetensors"
            )
    done, total = 0, output.nbytes
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, tensor in output.tensors.items():
            array = made(tensor)
            _add(archive, name, array)
            done += array.nbytes
            if progress is not None:
                progress(done, total)
        _add(archive, _METADATA, np.frombuffer(json.dumps(output.metadata()).encode(), np.uint8))


def read(path: PathLike) -> TensorFile:
    """Read all tensors into memory; arrays of objects are refused, since they would have to be unpickled."""
    path = os.fspath(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise CorruptionError("no archive of arrays", path=path)
            tensors = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise CheckpointNotFoundError("there is no such file", path=path) from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if isinstance(error, CorruptionError):
            raise
        # What NumPy says of arrays that hold objects advises to load them unsafely, and is left to the chained cause.
        said = "" if "pickle" in str(error) else f" ({error})"
        raise CorruptionError(f"no archive of plain arrays that NumPy reads{said}", path=path) from error
    except OSError as error:
        raise CheckpointNotFoundError(f"cannot be read ({error.strerror or error})", path=path) from error
    return TensorFile(tensors, _metadata(tensors.pop(_METADATA, None), path))


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray[Any, np.dtype[Any]]) -> None:
    with archive.open(zipfile.ZipInfo(f"{name}.npy", _DATE), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


def _metadata(array: np.ndarray[Any, np.dtype[Any]] | None, path: str) -> dict[str, str]:
    if array is None:
        return {}
    try:
        metadata = json.loads(array.tobytes())
    except (ValueError, RecursionError) as error:
        raise CorruptionError(f"{_METADATA} is no JSON ({error})", path=path) from error
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CorruptionError(f"{_METADATA} is no object of strings", path=path)
    return metadata
