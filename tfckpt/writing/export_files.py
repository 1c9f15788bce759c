"""The files of an export, in a local folder or in object storage: complete, or not there at all."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import re
import shutil
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import CheckpointExistsError
from ..files.atomic import TEMPORARY_MARK, check_folder, sync_folder, writing
from ..files.npy import write_npy
from ..files.safetensors import LazyTensor, write_safetensors
from ..sinks.contract import Pending, Sink
from .export_tensors import split_tensors

INDEX_NAME = "index.json"
_LONGEST_FILE_NAME = 200
#: Names that Windows gives to devices, whatever follows a dot, and those of files in which macOS keeps attributes.
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)\d) *(\.|$)|\._", re.IGNORECASE)
_ESCAPE_OR_CAPITAL = re.compile(r"%[0-9A-F]{2}|[A-Z]")


def write_safetensors_files(
    sink: Sink,
    path: str,
    tensors: Sequence[LazyTensor],
    shard_size: int | None,
    *,
    threads: int | None,
    overwrite: bool,
    advance: Callable[[int], None],
) -> tuple[str, ...]:
    """Write one file, or files of at most `shard_size` bytes of data and an index, which comes last."""
    shards = [tensors] if shard_size is None else split_tensors(tensors, shard_size)
    paths = [path] if shard_size is None else name_shards(path, len(shards))
    index_path = None if shard_size is None else f"{path}.index.json"
    for each in (*paths, *filter(None, [index_path])):
        sink.check_free(each, overwrite=overwrite)
    pending: list[Pending] = []
    try:
        for shard_path, shard in zip(paths, shards, strict=True):
            pending.append(sink.create(shard_path, size=sum(tensor.nbytes for tensor in shard)))
            with writing(shard_path):
                write_safetensors(pending[-1].file, shard, {}, threads=threads, progress=advance)
            pending[-1].sync()
        if index_path is not None:
            files = {
                tensor.name: shard_path for shard_path, shard in zip(paths, shards, strict=True) for tensor in shard
            }
            pending.append(sink.create(index_path))
            with writing(index_path):
                pending[-1].file.write(format_index(sink, files, sum(tensor.nbytes for tensor in tensors)))
        if index_path is not None:  # an old one would refer to some new files if this process is killed now
            sink.remove(index_path)
        for each_file in pending:
            each_file.commit()
    finally:
        for each_file in pending:
            each_file.discard()
    return tuple(each_file.path for each_file in pending)


def name_shards(path: str, count: int) -> list[str]:
    """Return the paths of the files that `path` is split into: NAME-00001-of-0000N.safetensors."""
    base = path.removesuffix(".safetensors")
    return [f"{base}-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def format_index(sink: Sink, files: dict[str, str], nbytes: int) -> bytes:
    """Return the index of several files in the layout of the Hugging Face hub; `files` has each tensor's path."""
    weight_map = {name: sink.split(path)[1] for name, path in files.items()}
    index = {"metadata": {"total_size": nbytes}, "weight_map": weight_map}
    return (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()


def write_npz(
    sink: Sink, path: str, tensors: Sequence[LazyTensor], *, overwrite: bool, advance: Callable[[int], None]
) -> tuple[str, ...]:
    """Write one archive of NumPy's."""
    import zipfile

    sink.check_free(path, overwrite=overwrite)
    pending = sink.create(path, size=sum(tensor.nbytes for tensor in tensors))
    try:
        with writing(path), zipfile.ZipFile(pending.file, "w", zipfile.ZIP_STORED) as archive:
            for tensor in tensors:
                with archive.open(f"{tensor.name}.npy", "w", force_zip64=True) as member:
                    write_npy(member, tensor.dtype, tensor.shape, tensor.load())
                advance(tensor.nbytes)
        pending.commit()
    finally:
        pending.discard()
    return (path,)


def write_folder(
    sink: Sink, path: str, tensors: Sequence[LazyTensor], *, overwrite: bool, advance: Callable[[int], None]
) -> tuple[str, ...]:
    """Write a folder of `.npy` files and an index from tensor to file.

    A local folder appears at once, by renaming. In object storage the index comes last, so that a folder that has one
    is complete.
    Names are escaped, so that no file is outside the folder: `../../x` becomes `..%2F..%2Fx.npy`.
    """
    _check_folder_free(sink, path, overwrite=overwrite)
    files = name_files(tensor.name for tensor in tensors)
    if sink.is_remote:
        sink.remove(sink.join(path, INDEX_NAME))
        return _fill_folder(sink, path, files, tensors, advance)
    temporary = f"{path}{TEMPORARY_MARK}{os.urandom(8).hex()}"
    with writing(path):
        os.mkdir(temporary)
    try:
        _fill_folder(sink, temporary, files, tensors, advance)
        with writing(path):
            if os.path.lexists(path):
                shutil.rmtree(path)
            os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(os.path.dirname(path))
    return tuple(os.path.join(path, name) for name in (INDEX_NAME, *files.values()))


def _check_folder_free(sink: Sink, path: str, *, overwrite: bool) -> None:
    if not sink.is_remote:
        check_folder(path)
    is_there = any(True for _ in sink.iterate_files(path)) if sink.is_remote else os.path.lexists(path)
    if is_there and not overwrite:
        raise CheckpointExistsError("folder exists; use --force (overwrite=True) to overwrite it", path=path)
    if is_there and sink.stat(sink.join(path, INDEX_NAME)) is None:
        raise CheckpointExistsError(f"not a folder written by an export: it has no {INDEX_NAME}", path=path)


def _fill_folder(
    sink: Sink, folder: str, files: dict[str, str], tensors: Sequence[LazyTensor], advance: Callable[[int], None]
) -> tuple[str, ...]:
    for tensor in tensors:
        path = sink.join(folder, files[tensor.name])

        def write(file: Any, tensor: LazyTensor = tensor) -> None:
            write_npy(file, tensor.dtype, tensor.shape, tensor.load())

        _write_file(sink, path, write)
        advance(tensor.nbytes)
    index = (json.dumps(files, indent=2, sort_keys=True) + "\n").encode()
    index_path = sink.join(folder, INDEX_NAME)
    _write_file(sink, index_path, lambda file: file.write(index))
    return (index_path, *(sink.join(folder, name) for name in files.values()))


def _write_file(sink: Sink, path: str, write: Callable[[Any], object]) -> None:
    pending = sink.create(path)
    try:
        with writing(path):
            write(pending.file)
        pending.commit()
    finally:
        pending.discard()


def name_files(names: Iterable[str]) -> dict[str, str]:
    """Map each tensor to the name of its file, which is different from the others on every disk.

    Names are percent-encoded, so they are ASCII, and urllib.parse.unquote restores all but the very long ones.
    Letters that would be the only difference on a disk that ignores case are encoded too: `A/w` and `a/w` become
    `%41%2Fw.npy` and `a%2Fw.npy`.
    """
    quoted = {name: _quote(name) for name in names}
    counts = collections.Counter(file.lower() for file in quoted.values())
    return {
        name: _shorten(file if counts[file.lower()] == 1 else _encode_capitals(file), name)
        for name, file in quoted.items()
    }


def _quote(name: str) -> str:
    """Percent-encode a name, also `~`, which would allow short names of Windows, and reserved names such as `nul`."""
    quoted = urllib.parse.quote(_encode(name), safe=" ()+,=@^_{}").replace("~", "%7E")
    return f"%{ord(quoted[0]):02X}{quoted[1:]}" if _RESERVED.match(quoted) else quoted


def _encode_capitals(quoted: str) -> str:
    return _ESCAPE_OR_CAPITAL.sub(lambda match: match[0] if len(match[0]) > 1 else f"%{ord(match[0]):02X}", quoted)


def _shorten(quoted: str, name: str) -> str:
    """Return a file name; a very long one is the beginning of the name and a digest, after the mark `~`."""
    if len(quoted) > _LONGEST_FILE_NAME:
        quoted = f"{quoted[: _LONGEST_FILE_NAME - 41]}~{hashlib.sha256(_encode(name)).hexdigest()[:40]}"
    return f"{quoted}.npy"


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
