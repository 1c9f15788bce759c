"""Export of tensors to files of other formats: safetensors, NumPy's `.npz`, or a folder of `.npy`.

Values and layouts do not change, except that floats can be converted; `converter` exports PyTorch's layouts.
Each tensor is read when it is written, so only one is in memory at a time.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .._typing import PathLike, Progress
from ..checkpoint import Checkpoint
from ..checks.integrity import verify
from ..files.atomic import strip_separators
from ..files.safetensors import LazyTensor, count_bytes, order_tensors
from ..sinks.opening import open_sink
from ..tensors.reading import CONNECTIONS
from .export_files import write_folder, write_npz, write_safetensors_files
from .export_tensors import Format, Weights, check_storable, choose_tensors, plan_tensors, split_tensors
from .selection import check_float_type

if TYPE_CHECKING:
    from ..errors import CheckpointError


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

    `out` is a local path, or the address of object storage such as `s3://bucket/x.safetensors`.
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
    sink, path = open_sink(out)
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
    origins = choose_tensors(
        checkpoint, names, include, exclude, weights=weights, no_optimizer=no_optimizer, left_out=left_out
    )
    if not origins:
        if errors:
            raise errors[0]
        raise ValueError("no tensor is left to write")
    tensors = plan_tensors(checkpoint, origins, strip_prefix, rename, target_float)
    check_storable(tensors, kind)
    nbytes = sum(tensor.nbytes for tensor in tensors)
    advance = count_bytes(tensors, progress)
    sources = {tensor.name: origin for tensor, origin in zip(tensors, origins.values(), strict=True)}
    ahead = [sources[tensor.name] for tensor in _order(tensors, kind, shard_size)]
    with checkpoint.reader.read_ahead(ahead, CONNECTIONS):
        if kind == "npy-folder":
            files = write_folder(sink, strip_separators(path), tensors, overwrite=overwrite, advance=advance)
        elif kind == "npz":
            files = write_npz(sink, path, tensors, overwrite=overwrite, advance=advance)
        else:
            # What is read ahead is read in order, and an upload is written in order.
            threads = 1 if checkpoint.storage.is_remote or sink.is_remote else None
            files = write_safetensors_files(
                sink, path, tensors, shard_size, threads=threads, overwrite=overwrite, advance=advance
            )
    written = tuple(sorted(tensor.name for tensor in tensors))
    return ExportReport(written, files, nbytes, {reason: some for reason, some in left_out.items() if some}, errors)


def _order(tensors: Sequence[LazyTensor], kind: Format, shard_size: int | None) -> list[LazyTensor]:
    """Return the tensors in the order in which they are written."""
    if kind != "safetensors":
        return list(tensors)
    shards = [tensors] if shard_size is None else split_tensors(tensors, shard_size)
    return [tensor for shard in shards for tensor in order_tensors(shard)]
