"""Writing a conversion: the output, and with it the report if one is asked for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from ._typing import PathLike, Progress
from .conversion import ConversionResult
from .errors import ExportError
from .exporters import Output, atomic_file, check_free, check_output, prepare, write_output
from .model.libraries import TargetName
from .model.recipes import Preprocessing
from .reporting.record import full_report
from .reporting.renderers import renderer_of


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
