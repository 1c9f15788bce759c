"""Export of tensors to files of other formats: safetensors, NumPy's `.npz`, or a folder of `.npy`.

Values and layouts do not change, except that floats can be converted; `converter` exports PyTorch's layouts.
Each tensor is read when it is written, so only one is in memory at a time.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import os
import re
import shutil
import urllib.parse
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from .._typing import Array, PathLike, Progress
from ..checkpoint import Checkpoint
from ..checks.integrity import verify
from ..errors import CheckpointExistsError, UnsupportedFeatureError, join_some
from ..files.atomic import PendingFile, atomic_file, check_folder, check_free, strip_separators, sync_folder, writing
from ..files.npy import write_npy
from ..files.safetensors import DTYPES, LazyTensor, count_bytes, order_tensors, write_safetensors
from ..graphs.lookup import select
from ..graphs.training_state import moving_averages, optimizer_state
from ..tensors.casting import FLOATS, cast_floats
from ..tensors.dtypes import data_type_named
from ..tensors.reading import CONNECTIONS
from .selection import check_float_type, compile_renames, rename_all, use_averages

if TYPE_CHECKING:
    from ..errors import CheckpointError

Weights: TypeAlias = Literal["all", "ema", "raw"]
Format: TypeAlias = Literal["safetensors", "npz", "npy-folder"]

INDEX_NAME = "index.json"
#: Zip stores the length of a name in 16 bits; every name gets a suffix.
_LONGEST_ZIP_NAME = 0xFFFF - len(".npy")
_LONGEST_FILE_NAME = 200
#: Names that Windows gives to devices, whatever follows a dot, and those of files in which macOS keeps attributes.
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)\d) *(\.|$)|\._", re.IGNORECASE)
_ESCAPE_OR_CAPITAL = re.compile(r"%[0-9A-F]{2}|[A-Z]")


@dataclasses.dataclass(frozen=True, slots=True)
class ExportReport:
    """The result of an export.

    `tensors` are the new names, `nbytes` their size in bytes, and `left_out` the names of other tensors by reason.
    `errors` are those of the tensors that `salvage` left out.
    """

    tensors: tuple[str, ...]
    files: tuple[str, ...]
    nbytes: int
    left_out: Mapping[str, tuple[str, ...]]
    errors: tuple[CheckpointError, ...]


def determine_format(path: PathLike) -> Format:
    """Return the format for the suffix of a path; a folder if it ends in a slash or has no suffix."""
    name = os.fspath(path)
    if not name:
        raise ValueError("the output must have a name")
    if name.endswith(".safetensors"):
        return "safetensors"
    if name.endswith(".npz"):
        return "npz"
    if name.endswith(("/", os.sep)) or not os.path.splitext(name)[1]:
        return "npy-folder"
    raise ValueError(f"unknown format of {name}, expected a name that ends in .safetensors, .npz or /")


def export(
    checkpoint: Checkpoint,
    out: PathLike,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    strip_prefix: str = "",
    rename: Sequence[tuple[str, str]] = (),
    dtype: str | None = None,
    no_optimizer: bool = False,
    weights: Weights = "all",
    shard_size: int | None = None,
    salvage: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Write tensors of an open checkpoint to `out`: a `.safetensors` or `.npz` file, or a folder of `.npy` files.

    - `include` and `exclude` are globs over the names in the checkpoint.
    - `weights` "ema" exports moving averages in place of the variables, and "raw" leaves out the averages.
    - `no_optimizer` leaves out slot variables and other state of optimizers.
    - `strip_prefix` is removed from the names that begin with it. Then the pairs in `rename`, a regular expression and
      a replacement, are applied in order; `NameConflictError` if two tensors would get the same name.
    - `dtype` converts floats to float16, bfloat16, float32 or float64.
    - `shard_size` splits a safetensors output into files with at most this many bytes of data and a JSON index, in the
      layout of the Hugging Face hub: NAME-00001-of-0000N.safetensors and NAME.safetensors.index.json.
    - `salvage` leaves out tensors that are damaged or missing.

    Strings and values of unreadable types are left out as well, because these formats cannot store them.
    The report lists everything that is left out, with reasons.
    Raises `UnsupportedFeatureError` for other types that the format cannot store.
    The output is complete, or nothing is written.
    """
    kind = determine_format(out)
    path = os.fspath(out)
    if shard_size is not None and (kind != "safetensors" or shard_size < 1):
        raise ValueError("a shard size must be a positive number of bytes, and needs a .safetensors output")
    target_float = check_float_type(dtype)
    left_out: dict[str, tuple[str, ...]] = {}
    errors: tuple[CheckpointError, ...] = ()
    names = list(checkpoint)
    if salvage:
        verification = verify(checkpoint)
        whole = set(verification.whole)
        left_out["damaged or missing"] = tuple(name for name in names if name not in whole)
        errors, names = verification.errors, list(verification.whole)
    origins = _choose_tensors(
        checkpoint, names, include, exclude, weights=weights, no_optimizer=no_optimizer, left_out=left_out
    )
    if not origins:
        if errors:
            raise errors[0]
        raise ValueError("no tensor is left to write")
    tensors = _plan_tensors(checkpoint, origins, strip_prefix, rename, target_float)
    _check_storable(tensors, kind)
    nbytes = sum(tensor.nbytes for tensor in tensors)
    advance = count_bytes(tensors, progress)
    sources = {tensor.name: origin for tensor, origin in zip(tensors, origins.values(), strict=True)}
    ahead = [sources[tensor.name] for tensor in _order(tensors, kind, shard_size)]
    with checkpoint.reader.read_ahead(ahead, CONNECTIONS):
        if kind == "npy-folder":
            files = _write_folder(strip_separators(path), tensors, overwrite=overwrite, advance=advance)
        elif kind == "npz":
            files = _write_npz(path, tensors, overwrite=overwrite, advance=advance)
        else:
            threads = 1 if checkpoint.storage.is_remote else None  # what is read ahead is read in order
            files = _write_safetensors(path, tensors, shard_size, threads=threads, overwrite=overwrite, advance=advance)
    written = tuple(sorted(tensor.name for tensor in tensors))
    return ExportReport(written, files, nbytes, {reason: some for reason, some in left_out.items() if some}, errors)


def _order(tensors: Sequence[LazyTensor], kind: Format, shard_size: int | None) -> list[LazyTensor]:
    """Return the tensors in the order in which they are written."""
    if kind != "safetensors":
        return list(tensors)
    shards = [tensors] if shard_size is None else _split(tensors, shard_size)
    return [tensor for shard in shards for tensor in order_tensors(shard)]


def _choose_tensors(
    checkpoint: Checkpoint,
    names: list[str],
    include: Sequence[str],
    exclude: Sequence[str],
    *,
    weights: Weights,
    no_optimizer: bool,
    left_out: dict[str, tuple[str, ...]],
) -> dict[str, str]:
    """Map each tensor to the one whose values it gets, in order, and add the others to `left_out` by reason."""
    chosen = select(names, include, exclude)
    left_out["not selected"] = tuple(name for name in names if name not in chosen)
    types = {name: checkpoint.info(name) for name in chosen}
    strings = {name for name, info in types.items() if info.tf_dtype == "DT_STRING"}
    opaque = {
        name for name, info in types.items() if info.dtype.kind in "OV" and not _is_extension(info.dtype)
    } - strings
    optimizer = optimizer_state(names, checkpoint.object_graph).keys() & chosen if no_optimizer else set()
    left_out["strings"] = tuple(sorted(strings))
    left_out["values of a type that cannot be read"] = tuple(sorted(opaque))
    left_out["state of an optimizer"] = tuple(sorted(optimizer))
    chosen -= strings | opaque | optimizer
    if weights == "raw":
        averages = moving_averages(names, checkpoint.object_graph).keys() & chosen
        left_out["moving averages"] = tuple(sorted(averages))
        chosen -= averages
    if weights != "ema":
        return {name: name for name in names if name in chosen}
    origins = use_averages(checkpoint, names, chosen)
    used = set(origins.values())
    left_out["raw values of variables whose averages are used"] = tuple(
        name for name in names if name in chosen and name not in used
    )
    return origins


def _plan_tensors(
    checkpoint: Checkpoint,
    origins: Mapping[str, str],
    strip_prefix: str,
    rename: Sequence[tuple[str, str]],
    target_float: str | None,
) -> list[LazyTensor]:
    if strip_prefix and not any(name.startswith(strip_prefix) for name in origins):
        raise ValueError(f"no name begins with {strip_prefix!r}")
    stripped = [(re.compile("^" + re.escape(strip_prefix)), "")] if strip_prefix else []
    patterns = [*stripped, *compile_renames(rename)]
    targets = rename_all(origins, patterns)
    tensors = []
    for name, origin in origins.items():
        info = checkpoint.info(origin)
        changes = target_float is not None and info.dtype.name in FLOATS and info.dtype.name != target_float
        dtype = data_type_named(target_float or "").to_numpy() if changes else info.dtype
        load = functools.partial(_load, checkpoint, origin, dtype)
        tensors.append(LazyTensor(targets[name], dtype, info.shape, load))
    return tensors


def _load(checkpoint: Checkpoint, name: str, dtype: np.dtype[Any]) -> Iterator[Array]:
    for values in checkpoint.reader.iterate_values(name):
        yield cast_floats(values, dtype, name=name)


def _is_extension(dtype: np.dtype[Any]) -> bool:
    """Return whether this is a type of ml_dtypes; NumPy gives them the kind of void."""
    return dtype.kind == "V" and dtype.type is not np.void


def _check_storable(tensors: Sequence[LazyTensor], kind: Format) -> None:
    """Raise `UnsupportedFeatureError` if the format cannot store all types and names."""
    if kind == "safetensors":
        bad = [tensor for tensor in tensors if tensor.dtype.name not in DTYPES]
    else:
        bad = [tensor for tensor in tensors if _is_extension(tensor.dtype) or tensor.dtype.name.startswith("bfloat")]
    if bad:
        types = ", ".join(sorted({tensor.dtype.name for tensor in bad}))
        raise UnsupportedFeatureError(
            f"{'a safetensors file' if kind == 'safetensors' else 'a NumPy file'} cannot store {types}, the type of "
            f"{join_some(sorted(tensor.name for tensor in bad))}; "
            "exclude them, convert floats with a dtype, or choose another format"
        )
    unnameable = (
        [] if kind == "npy-folder" else [tensor.name for tensor in tensors if not _is_nameable(tensor.name, kind)]
    )
    if unnameable:
        raise UnsupportedFeatureError(
            f"{'a safetensors file' if kind == 'safetensors' else 'an .npz file'} cannot store the "
            f"{'name' if len(unnameable) == 1 else 'names'} {join_some(sorted(unnameable))}; "
            "rename or exclude them, or write a folder of .npy files"
        )


def _is_nameable(name: str, kind: Format) -> bool:
    """Return whether a format can store a name: valid UTF-8 and, for a zip archive, without NUL and not too long."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    if kind == "safetensors":
        return name != "__metadata__"
    return b"\0" not in encoded and len(encoded) <= _LONGEST_ZIP_NAME


def _write_safetensors(
    path: str,
    tensors: Sequence[LazyTensor],
    shard_size: int | None,
    *,
    threads: int | None,
    overwrite: bool,
    advance: Callable[[int], None],
) -> tuple[str, ...]:
    if shard_size is None:
        with atomic_file(path, overwrite=overwrite) as file:
            write_safetensors(file, tensors, {}, threads=threads, progress=advance)
        return (path,)
    shards = _split(tensors, shard_size)
    base = path.removesuffix(".safetensors")
    paths = [f"{base}-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors)},
        "weight_map": {
            tensor.name: os.path.basename(shard_path)
            for shard_path, shard in zip(paths, shards, strict=True)
            for tensor in shard
        },
    }
    index_path = f"{path}.index.json"
    for each in (*paths, index_path):
        check_free(each, overwrite=overwrite)
    pending: list[PendingFile] = []
    try:
        for shard_path, shard in zip(paths, shards, strict=True):
            pending.append(PendingFile(shard_path))
            write_safetensors(pending[-1].file, shard, {}, threads=threads, progress=advance)
            pending[-1].sync()
        pending.append(PendingFile(index_path))
        pending[-1].file.write((json.dumps(index, indent=2, sort_keys=True) + "\n").encode())
        for each_file in pending:
            each_file.commit()
    finally:
        for each_file in pending:
            each_file.discard()
    sync_folder(os.path.dirname(path))
    return (*paths, index_path)


def _split(tensors: Sequence[LazyTensor], shard_size: int) -> list[list[LazyTensor]]:
    """Group consecutive tensors into shards of at most `shard_size` bytes; a larger tensor has a shard of its own."""
    shards: list[list[LazyTensor]] = [[]]
    filled = 0
    for tensor in tensors:
        if shards[-1] and filled + tensor.nbytes > shard_size:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.nbytes
    return shards


def _write_npz(
    path: str, tensors: Sequence[LazyTensor], *, overwrite: bool, advance: Callable[[int], None]
) -> tuple[str, ...]:
    with atomic_file(path, overwrite=overwrite) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for tensor in tensors:
            with archive.open(f"{tensor.name}.npy", "w", force_zip64=True) as member:
                write_npy(member, tensor.dtype, tensor.shape, tensor.load())
            advance(tensor.nbytes)
    return (path,)


def _write_folder(
    path: str, tensors: Sequence[LazyTensor], *, overwrite: bool, advance: Callable[[int], None]
) -> tuple[str, ...]:
    """Write a folder of `.npy` files and an index from tensor to file, and rename it into place at the end.

    Names are escaped, so that no file is outside the folder: `../../x` becomes `..%2F..%2Fx.npy`.
    """
    if os.path.lexists(path) and not overwrite:
        raise CheckpointExistsError("folder exists; use --force (overwrite=True) to overwrite it", path=path)
    if os.path.lexists(path) and not os.path.isfile(os.path.join(path, INDEX_NAME)):
        raise CheckpointExistsError(f"not a folder written by an export: it has no {INDEX_NAME}", path=path)
    check_folder(path)
    temporary = f"{path}.writing-{os.urandom(8).hex()}"
    with writing(path):
        os.mkdir(temporary)
    try:
        files = _name_files(tensor.name for tensor in tensors)
        for tensor in tensors:
            with PendingFile(os.path.join(temporary, files[tensor.name])) as pending:
                write_npy(pending.file, tensor.dtype, tensor.shape, tensor.load())
                pending.commit()
            advance(tensor.nbytes)
        with atomic_file(os.path.join(temporary, INDEX_NAME)) as file:
            file.write((json.dumps(files, indent=2, sort_keys=True) + "\n").encode())
        with writing(path):
            if os.path.lexists(path):
                shutil.rmtree(path)
            os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(os.path.dirname(path))
    return tuple(os.path.join(path, name) for name in (INDEX_NAME, *files.values()))


def _name_files(names: Iterable[str]) -> dict[str, str]:
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
