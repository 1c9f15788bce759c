"""`export_program`: write a network or a graph as a program file, and give it its name once its runtime agrees."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from tfckpt.addresses import plain_address
from tfckpt.errors import printable
from tfckpt.limits import DEFAULT_LIMITS, Limits
from tfckpt.sinks import staging
from tfckpt.sinks.opening import is_address

from .._typing import PathLike
from ..errors import ExportError, FeedError, Shape
from ..exporting import check_report
from ..families.averages import WeightsChoice
from ..formats.atomic import check_free
from ..verification.activations import load_golden
from ..verification.devices import check_device
from .calibration import Calibration
from .check import ALLOWED_UNITS, Case, compare_outputs, make_cases, run_program
from .destinations import Destination, find_destination
from .expected import read_expected
from .graphs import GraphOptions
from .judging import Judging
from .metadata import read_labels, read_origin, read_preprocessing
from .opening import Source, SourceOptions, open_subject
from .probes import Probes
from .quality import Precision
from .renderers import writing_report
from .report import ProgramReport
from .shapes import (
    Axis,
    ShapeOptions,
    Shapes,
    checked_shapes,
    choose_shapes,
    describe_shape,
    list_axes,
    traced_shapes,
)
from .staging import precise_path, staged_files
from .subject import Argument, Subject
from .tracing import describe_untrained, reset_program, trace
from .writing import NEWEST_OPSET, OLDEST_OPSET, OPSET, Job, Style

#: The least number of inputs for a program of one size.
_LEAST_CASES = 2


def export_program(
    source: Source,
    path: PathLike,
    *,
    weights: WeightsChoice | None = None,
    key: str | None = None,
    as_graph: bool = False,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    checkpoint: PathLike | None = None,
    inputs: str | Sequence[str] | Mapping[str, str] | None = None,
    outputs: str | Sequence[str] | Mapping[str, str] | None = None,
    constants: Mapping[str, Any] | None = None,
    dropout: bool = False,
    nchw: bool = False,
    example: Sequence[Tensor] | Mapping[str, Tensor] | None = None,
    batch: int | None = None,
    dynamic_batch: bool = False,
    size: int | tuple[int, int] | None = None,
    dynamic_size: bool = False,
    static: bool = False,
    dynamic: Mapping[str, Sequence[int]] | None = None,
    opset: int | None = None,
    style: Style = "modules",
    dtype: Literal["float16"] | None = None,
    quantize: Literal["int8"] | None = None,
    calibrate: Calibration | None = None,
    calibrate_images: int = 200,
    data: PathLike | None = None,
    max_drop: float = 0.01,
    check: int = 1,
    expect: PathLike | None = None,
    device: str = "cpu",
    limits: Limits = DEFAULT_LIMITS,
    report: PathLike | None = None,
    command: str | None = None,
    force: bool = False,
    talk: Callable[[str], None] | None = None,
) -> ProgramReport:
    """Write a network or a graph to a file that runs without this package; the ending of `path` chooses the form.

    `source` is a path, an open checkpoint, the result of `convert`, or a module, such as one of `load_model` or
    `graph_module` that was trained; any other module needs its inputs as `example`. A graph that does not
    say how many axes an input has takes them from `expect`, or from `example` by name. A path is taken as a network of
    ours or of a ready family if it is one, else as a graph. `as_graph`, and every option from `signature` to `nchw`,
    takes the graph; all but the last are those of `graph_module`, and `weights` and `key` are those of `load_model`.
    With `nchw`, images of a graph are passed and returned as NCHW.

    `batch` and `size`, pixels of a side or height and width, fix sizes, and `dynamic_batch` and `dynamic_size` require
    any; `static` fixes all, and `dynamic` lists axes of any size by the name of their input. Without them the batch is
    any, if the destination and the module allow it, and an image has the network's usual size or the graph's.

    A `.py` file has a `.safetensors` file with its weights beside it; `style` is `modules`, layers of `torch.nn` in
    channels-first layout, or `plain`, one call an operation.

    Before the file gets its name, its runtime runs it in a process without this package, on `check` random inputs for
    each of several sizes, and it is compared with the module's own float32 and float64. `expect` is an `.npz` with
    inputs and outputs that TensorFlow recorded. `device` (cpu, cuda, mps) runs the module's float32.
    `limits` are those of reading the source.

    A `path` that is an address (`s3://bucket/net.onnx`) is written and checked in a temporary folder, and uploaded.

    `report` is the path of a report to write, JSON or HTML by its ending, also if the file differs and is not written;
    `command` is the command line that it shows.

    With `dtype="float16"` or `quantize="int8"` a float32 program is checked like this first. What the file of less
    precision changes is in the report as `losses`: on the labelled images of `data`, as `tf2torch evaluate` reads them,
    or else on images of `calibrate`, a folder, an `.npz` or an array, that were not used to calibrate, or on random
    numbers. At most `calibrate_images` images calibrate, and they may not be among those of `data`. A loss of accuracy
    of more than `max_drop` is a difference.

    Raises `VerificationError` if the file differs, `ProgramError` if the module cannot be written or run,
    `MissingDependencyError` without the destination's packages, and the errors of opening; then nothing is written.
    """
    path = os.fspath(path)
    destination = find_destination(plain_address(path))
    shape_options = ShapeOptions(
        batch=batch,
        dynamic_batch=dynamic_batch,
        size=(size, size) if isinstance(size, int) else size,
        dynamic_size=dynamic_size,
        static=static,
        dynamic={name: tuple(axes) for name, axes in (dynamic or {}).items()},
    )
    if opset is not None and not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise ExportError(f"the opset is {opset}, expected {OLDEST_OPSET} to {NEWEST_OPSET}")
    if shape_options.requires_dynamic and not destination.allows_dynamic:
        raise ExportError(f"a {destination.ending} file has fixed sizes: use batch and size", path=path)
    if check < 1:
        raise ExportError(f"the number of checks is {check}, expected at least 1")
    precision = _choose_precision(destination, dtype, quantize)
    if (quantize is not None) != (calibrate is not None):
        raise ExportError("int8 needs images to calibrate with, and only int8 does: quantize and calibrate")
    if is_address(path):
        staging.check_free(path, overwrite=force)
    else:
        check_free(path, force=force)
    if report is not None:
        check_report(report, path, force=force)
    check_device(device)
    destination.require()
    subject = open_subject(
        source,
        SourceOptions(
            weights=weights,
            key=key,
            as_graph=as_graph,
            graph=GraphOptions(
                signature=signature,
                tags=tags,
                checkpoint=checkpoint,
                inputs=inputs,
                outputs=outputs,
                constants=constants or {},
                dropout=dropout,
                nchw=nchw,
                shapes=_read_shapes(example, expect),
            ),
            example=example,
            limits=limits,
        ),
        talk=talk,
    )
    if subject.state and (precision is not None or not destination.keeps_state):
        names = ", ".join(map(printable, subject.state))
        raise ExportError(
            f"the graph changes buffers in each run ({names}), which only a .pt2 file in float32 keeps", path=path
        )
    expected = None if expect is None else read_expected(expect, subject)
    shapes = choose_shapes(subject, shape_options, allows_dynamic=destination.allows_dynamic)
    probes = Probes(subject, traced_shapes(shapes))
    traced = trace(subject, shapes, probes, destination=destination.ending)
    sizes = list(checked_shapes(traced.shapes))
    count = check if len(sizes) > 1 else max(check, _LEAST_CASES)
    if expected is not None:
        _check_fits(expected[0], traced.shapes)
    recorded = () if expected is None else (expected,)
    cases, notes = make_cases(subject, probes, sizes, count=count, device=device, recorded=recorded)
    if subject.kind == "graph" and not list_axes(shapes) and not static and destination.allows_dynamic:
        notes.append("checked at one size: the graph leaves none open")
    judging = None
    if precision is not None:
        judging = Judging.prepare(
            subject, traced.shapes, probes, precision, calibrate=calibrate, count=calibrate_images, data=data
        )
    job = Job(subject, traced, subject.metadata, opset or OPSET, style)
    double = destination.has_float64
    labels = read_labels(subject.metadata)
    if subject.kind == "graph" and destination.trains:
        notes += describe_untrained(traced.program, subject, cases[0].inputs)
        reset_program(traced.program, subject)
    with (
        writing_report(report, force=force) as record,
        staging.staged(path, overwrite=force) as local,
        staged_files(local, force=force) as staged,
    ):
        writer = destination.load()
        with precise_path(staged, apart=judging is not None) as precise:
            written: Sequence[str] = writer.write(job, precise) or ()
            results, versions = run_program(precise, subject, cases, destination=destination.ending, double=double)
            result = ProgramReport(
                path=plain_address(path),
                destination=destination.ending,
                taken_as=subject.title,
                origin=read_origin(subject.metadata),
                inputs=tuple(_describe_input(argument, traced.shapes) for argument in subject.arguments),
                outputs=_describe_outputs(subject, cases, traced.shapes),
                parameters=subject.parameter_count,
                cases=len(cases),
                device=device,
                comparisons=tuple(
                    comparison
                    for case, values in zip(cases * 2 if double else cases, results, strict=True)
                    for comparison in compare_outputs(subject, case, values)
                ),
                allowed_units=ALLOWED_UNITS,
                versions=versions,
                preprocessing=read_preprocessing(subject.metadata),
                labels=None if labels is None else len(labels),
                max_drop=max_drop,
                notes=(*subject.notes, *traced.notes, *written, *notes),
                command=command,
            )
            record(result)
            result.require()
            if judging is not None:
                judging.write(writer, job, precise, staged)
        losses = None if judging is None else judging.run(staged, destination.ending, device)
        folder = os.path.dirname(staged)
        files = {name: os.path.getsize(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}
        result = dataclasses.replace(result, files=files, losses=losses)
        record(result)
        result.require()
    return result


def _read_shapes(example: Sequence[Tensor] | Mapping[str, Tensor] | None, expect: PathLike | None) -> dict[str, Shape]:
    """Return the shapes of the arrays that the caller gives by name."""
    arrays: Mapping[str, Any] = {} if expect is None else load_golden(expect)
    if isinstance(example, Mapping):
        arrays = {**arrays, **example}
    return {name: tuple(array.shape) for name, array in arrays.items()}


def _choose_precision(destination: Destination, dtype: str | None, quantize: str | None) -> Precision | None:
    """Return the precision that is requested instead of float32."""
    if dtype is None and quantize is None:
        return None
    requested = dtype or quantize
    for precision in destination.precisions:
        if precision == requested and (dtype is None or quantize is None):
            return precision
    possible = " or ".join(("float32", *destination.precisions))
    raise ExportError(
        f"a {destination.ending} file has {possible}, not {' and '.join(filter(None, (dtype, quantize)))}"
    )


def _describe_input(argument: Argument, shapes: Shapes) -> str:
    return f"{argument.name} {str(argument.dtype).removeprefix('torch.')} {describe_shape(shapes[argument.name])}"


def _describe_outputs(subject: Subject, cases: Sequence[Case], shapes: Shapes) -> tuple[str, ...]:
    """Return every output with its dtype and its axes: a size, the name of an input's axis, or `?` for any other."""
    named = {
        tuple(case.inputs[name].shape[number] for case in cases): axis.name
        for name, axes in reversed(shapes.items())
        for number, axis in reversed(list(enumerate(axes)))
        if isinstance(axis, Axis)
    }
    described = []
    for position, name in enumerate(subject.outputs):
        axes = [
            str(sizes[0]) if len(set(sizes)) == 1 else named.get(sizes, "?")
            for sizes in zip(*(case.single[position].shape for case in cases), strict=True)
        ]
        described.append(f"{name} {cases[0].single[position].dtype} [{', '.join(axes)}]")
    return tuple(described)


def _check_fits(inputs: Mapping[str, np.ndarray[Any, Any]], shapes: Shapes) -> None:
    """Raise `FeedError` if recorded inputs do not have the sizes that the program takes."""
    for name, axes in shapes.items():
        wrong = any(
            not isinstance(axis, Axis) and axis != size for axis, size in zip(axes, inputs[name].shape, strict=True)
        )
        if wrong:
            raise FeedError(
                f"the recorded input {name} is {list(inputs[name].shape)}, and the program takes {describe_shape(axes)}"
            )
