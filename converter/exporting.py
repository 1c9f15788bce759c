"""Writing a conversion: the output, and with it the report if one is asked for.

`prepare` decides everything before a byte is written: whether the library has the network at all, and whether the
changes that were asked for can go together.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence

from ._typing import PathLike, Progress
from .conversion import ConversionResult
from .errors import ExportError
from .formats.changes import with_classes, with_dtype, with_folded_norms
from .formats.files import Output, atomic_file, check_free, check_output, write_output
from .formats.output import Writable
from .images.labels import require_lines
from .images.recipes import Preprocessing
from .libraries.models import TARGETS, TargetName
from .libraries.tables import library_names
from .libraries.targets import TABLES, model_of, notes_of
from .model.config import EfficientNetConfig
from .reporting.record import full_report
from .reporting.renderers import renderer_of


def prepare(
    result: ConversionResult,
    *,
    target: TargetName = "native",
    dtype: str | None = None,
    num_classes: int | None = None,
    fuse_bn: bool = False,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Output:
    """Plan what is written of a conversion.

    `dtype` is `float32`, `float16` or `bfloat16`, for floating-point tensors; None leaves them as they are.
    `num_classes` other than the network's replaces the classifier by a new one, 0 by none.
    `fuse_bn` folds batch norms into the convolutions before them; only our own module takes that.
    `labels` are the classes' names, one for each.

    Raises `ExportError` when the target has no such network or the choices do not fit together.
    """
    if target not in TARGETS:
        raise ExportError(f"there is no target {target!r}, expected one of {', '.join(TARGETS)}")
    tensors: Mapping[str, Writable] = result.state_dict
    config: EfficientNetConfig | None = result.config
    changes: list[str] = []
    if config is None:
        if target != "native" or num_classes is not None or fuse_bn:
            raise ExportError("what was converted is no EfficientNet: it has no other target, classifier or batch norm")
    else:
        if num_classes is not None and num_classes != config.num_classes:
            tensors, config, change = with_classes(tensors, config, num_classes)
            changes.append(change)
        if fuse_bn:
            if target != "native":
                raise ExportError(f"the models of {target} have batch norms; folded ones are for the target native")
            tensors, config, change = with_folded_norms(tensors, config)
            changes.append(change)
        if labels is not None and len(labels) != config.num_classes:
            raise ExportError(f"{len(labels)} labels were given, but the network has {config.num_classes} classes")
    if labels is not None:
        require_lines(labels)
    model = None
    names: Mapping[str, str] = {}
    if target != "native" and config is not None:
        model = model_of(target, config)
        names = library_names(TABLES[target], config, target)
        tensors = {names[name]: tensor for name, tensor in tensors.items()}
    if dtype is not None:
        tensors, change = with_dtype(tensors, dtype)
        changes.append(change)
    return Output(
        tensors=tensors,
        config=config,
        report=result.report,
        target=target,
        model=model,
        names=names,
        changes=tuple(changes),
        notes=() if config is None else notes_of(target, config, preprocessing),
        preprocessing=preprocessing,
        labels=None if labels is None else tuple(labels),
    )


def export(
    result: ConversionResult,
    path: PathLike,
    *,
    target: TargetName = "native",
    dtype: str | None = None,
    num_classes: int | None = None,
    fuse_bn: bool = False,
    labels: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    shard_size: int | None = None,
    report: PathLike | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a conversion to a file, in the format its ending says, or to a folder when it has none.

    The options up to `preprocessing` are those of `prepare`; a folder is written in shards of at most `shard_size`
    bytes. `report` is a file that gets the report for people, as JSON or HTML by its ending.
    Nothing is overwritten without `force`, and a failure or an interruption leaves nothing behind.
    """
    check_output(path, force=force, shard_size=shard_size)
    if report is not None:
        check_report(report, path, force=force)
    output = prepare(
        result,
        target=target,
        dtype=dtype,
        num_classes=num_classes,
        fuse_bn=fuse_bn,
        labels=labels,
        preprocessing=preprocessing,
    )
    with reported(report, result, output, path, force=force):
        write_output(output, path, shard_size=shard_size, force=force, progress=progress)


def check_report(report: PathLike, path: PathLike, *, force: bool) -> None:
    """Raise `ExportError` when no report of the output at `path` can be written under this name."""
    if os.path.realpath(report) == os.path.realpath(path):
        raise ExportError("the report and the output cannot be the same file", path=os.fspath(path))
    renderer_of(report)
    check_free(report, force=force)


@contextlib.contextmanager
def reported(
    report: PathLike | None,
    result: ConversionResult,
    output: Output,
    path: PathLike,
    *,
    command: str | None = None,
    force: bool = False,
) -> Iterator[None]:
    """Write a report, if one is wanted, of the output that the block writes at `path`; only when the block ends well.

    `command` is what the report says to repeat the conversion.
    """
    if report is None:
        yield
        return
    render = renderer_of(report)
    with atomic_file(report, force=force) as file:
        file.write(render(full_report(result, output, path, command=command)).encode())
        yield
