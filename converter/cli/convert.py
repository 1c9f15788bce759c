"""`tf2torch convert`: write the network of a checkpoint as PyTorch weights."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
from collections.abc import Iterator

import tfckpt
from tfckpt.addresses import has_secrets, plain_address
from tfckpt.cli.command import choose_exit_code
from tfckpt.cli.costs import say_job, say_transfer
from tfckpt.cli.executors import (
    add_executor_options,
    add_piece_option,
    is_requested,
    open_executor,
)
from tfckpt.cli.render import parse_size, say, wrap
from tfckpt.sinks.staging import staged

from ..conversion import ConversionResult, convert_to_views
from ..errors import ExportError, UnknownModelError
from ..exporting import Changes, check_report, prepare, writing_report
from ..formats.changes import DTYPES
from ..formats.files import Output, check_output, measure_output, write_output
from ..images.labels import read_labels
from ..libraries.models import TARGETS
from ..releases.table import find_preprocessing
from ..reporting.record import build_report
from ..reporting.renderers import FORMATS as REPORTS
from ..reporting.renderers import to_json
from ..verification.publishing import Prover
from .options import (
    SOURCE_HELP,
    add_conversion_options,
    add_interface_options,
    format_command,
    get_conversion_options,
    get_interface,
    open_source,
    require_one_way,
)
from .progress import progress_bar

HELP = """\
Write the network of a TensorFlow checkpoint as PyTorch weights.

  tf2torch convert efficientnetv2-s -o s.safetensors                          a release, downloaded once
  tf2torch convert my-training -o mine.safetensors                            a folder, prefix, archive or address
  tf2torch convert model.ckpt-322 -o digits.pth --weights raw
  tf2torch convert efficientnetv2-s -o s-timm --target timm                   a folder that timm opens
  tf2torch convert uncased_L-12_H-768_A-12 -o bert                            BERT and others: tf2torch families
  tf2torch convert my-classifier -o breeds.safetensors --head breeds          a backbone and its classifier
  tf2torch convert bert --rules bert.toml --into encoder:build -o b.pth       any other network
  tf2torch convert efficientnetv2-s -o s.safetensors --report s.html          also write a report
  tf2torch convert s3://bucket/bert -o s3://bucket/pt --workers 8             one task a file

The command determines the network, its number of classes and the scope of its names from the checkpoint.
It uses every tensor once or reports why it is left out; otherwise it writes nothing.

Before OUT gets its name, what was written is proved: its weights against the checkpoint byte for byte, and its layers
against the graph saved with the checkpoint. That needs a graph and PyTorch; the last line says what was proved.
If something differs, nothing is written and the exit code is 1.
"""

#: Columns of the titles.
_INDENT = 10
#: How often each tensor is read for a conversion with its proof: once to convert it, once to compare it with what was
#: written, and once by the graph.
_PASSES = 3
#: Options that do not change the result, or that may contain a password.
_NOT_OF_THE_RESULT = (
    *("report", "json", "force", "base_url", "cache"),
    *("workers", "scheduler", "restart", "piece_size"),
)


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "convert",
        help="write PyTorch weights",
        description=HELP,
    )
    parser.add_argument("source", metavar="SRC", help=SOURCE_HELP)
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help="file to write, ending in .safetensors, .pth or .npz, or a folder (no ending)",
    )
    add_conversion_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--target",
        metavar="LIBRARY",
        choices=TARGETS,
        default="native",
        help="library whose names the tensors get; a folder also gets that library's config: "
        "%(choices)s (default: %(default)s)",
    )
    output.add_argument("--dtype", choices=DTYPES, help="dtype of the floating-point tensors (default: as stored)")
    classes = output.add_mutually_exclusive_group()
    classes.add_argument(
        "--num-classes", metavar="N", type=int, help="replace the classifier by a new one of N classes, for fine-tuning"
    )
    classes.add_argument(
        "--drop-head",
        dest="num_classes",
        action="store_const",
        const=0,
        help="drop the classifier: the network returns pooled features",
    )
    output.add_argument(
        "--fuse-bn", action="store_true", help="fold batch norms into the convolutions before them, for inference"
    )
    output.add_argument("--labels", metavar="FILE", help="names of the classes, one per line or as JSON")
    output.add_argument(
        "--shard-size",
        metavar="SIZE",
        type=parse_size,
        help="split the weights in a folder into files of at most this size, such as 5GB, with an index",
    )
    proof = parser.add_mutually_exclusive_group()
    proof.add_argument("--no-proof", action="store_true", help="write OUT without a proof")
    proof.add_argument(
        "--require-proof",
        action="store_true",
        help="write nothing if the layers cannot be proved, for example without a graph (exit code 5)",
    )
    add_interface_options(parser)
    parser.add_argument("--force", action="store_true", help="overwrite OUT and FILE if they exist")
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="also write a report on every tensor, the statistics of the weights and the preprocessing of images; "
        f"FILE ends in {' or '.join(REPORTS)}",
    )
    parser.add_argument("--json", action="store_true", help="print that report as JSON")
    jobs = parser.add_argument_group("jobs", "one task for each file of a folder")
    add_executor_options(jobs)
    jobs.add_argument("--restart", action="store_true", help="skip files that an earlier run has finished")
    add_piece_option(jobs)
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Convert, write and print a summary; an output at an address is proved on this machine, and then uploaded."""
    require_one_way(options)
    if is_requested(options) or options.restart:
        return _run_job(options)
    with staged(options.output, overwrite=options.force) as output:
        text = _convert(options, output)
    print(text, end="")
    return 0


def _convert(options: argparse.Namespace, output: str) -> str:
    """Convert to a local output, and return what to print."""
    shown = plain_address(options.output)
    check_output(output, force=options.force, shard_size=options.shard_size)
    labels = None if options.labels is None else read_labels(options.labels)
    if options.report is not None:
        check_report(options.report, output, force=options.force)
    checkpoint, release = open_source(options.source, options)
    with checkpoint:
        say_transfer(checkpoint, options.output, passes=1 if options.no_proof else _PASSES)
        with _suggesting_export(checkpoint, options), progress_bar("reading") as progress:
            result = convert_to_views(checkpoint, get_conversion_options(options, release), progress=progress)
        prepared = prepare(
            result,
            target=options.target,
            dtype=options.dtype,
            num_classes=options.num_classes,
            fuse_bn=options.fuse_bn,
            labels=labels,
            preprocessing=None if result.config is None else find_preprocessing(result.report.releases, result.config),
        )
        command = format_command(options, _NOT_OF_THE_RESULT)
        prover = _make_prover(options, result, prepared, checkpoint)
        reporting = writing_report(
            options.report, result, prepared, shown, prover=prover, command=command, force=options.force
        )
        with reporting, progress_bar("writing") as progress:
            write_output(
                prepared, output, shard_size=options.shard_size, force=options.force, prove=prover, progress=progress
            )
        if options.json:
            report = build_report(result, prepared, shown, command=command)
            return to_json(dataclasses.replace(report, proof=None if prover is None else prover.record))
    return _format_summary(options, result, prepared, prover, measure_output(output))


def _run_job(options: argparse.Namespace) -> int:
    """Convert by tasks; the files are proved, and the index is written, if all of them succeed."""
    from tfckpt.jobs.planning import check_output as check_free_output

    from ..jobs.planning import plan_convert
    from ..jobs.running import finish
    from ..jobs.running import run as run_tasks

    if options.json or options.report is not None:
        raise ExportError("a conversion by tasks writes no report: tf2torch plan --report describes the tensors")
    labels = None if options.labels is None else read_labels(options.labels)
    checkpoint, release = open_source(options.source, options)
    with checkpoint:
        with _suggesting_export(checkpoint, options):
            plan = plan_convert(
                checkpoint,
                options.output,
                get_conversion_options(options, release),
                Changes(options.target, options.dtype, options.num_classes, options.fuse_bn),
                shard_size=options.shard_size,
                labels=labels,
                piece_bytes=options.piece_size,
            )
        check_free_output(plan, restart=options.restart, overwrite=options.force, output=options.output)
        say_job(plan)
        address = options.output if has_secrets(options.output) else None
        with open_executor(options, prefix="tfckpt-convert") as executor, progress_bar("writing") as progress:
            report = run_tasks(
                plan,
                executor,
                restart=options.restart,
                source=options.source if has_secrets(options.source) else None,
                output=address,
                piece_bytes=options.piece_size,
                progress=progress,
            )
        for error in report.errors:
            say(str(error))
        if report.errors:
            left = len(plan.tasks) - len(report.results)
            say(f"{left:,} of {len(plan.tasks):,} files are missing, and so is the index; run it again with --restart")
            return choose_exit_code(report.errors)
        prover = _make_prover(options, plan.result, plan.prepared, checkpoint)
        finish(plan, output=address, prove=prover)
    nbytes = sum(result.record.size for result in report.results)
    print(_format_summary(options, plan.result, plan.prepared, prover, nbytes), end="")
    if report.skipped:
        say(f"{report.skipped:,} of {len(plan.tasks):,} files were there already")
    return 0


def _make_prover(
    options: argparse.Namespace, result: ConversionResult, prepared: Output, checkpoint: tfckpt.Checkpoint
) -> Prover | None:
    if options.no_proof:
        return None
    required = options.require_proof or bool(options.probe or options.compare)
    return Prover(result, prepared, checkpoint, required=required, interface=get_interface(options))


def _format_summary(
    options: argparse.Namespace, result: ConversionResult, prepared: Output, prover: Prover | None, nbytes: int
) -> str:
    """Return what to print about an output of `nbytes`."""
    lines = [
        result.report.summary(),
        *(f"changed   {line}" for line in prepared.changes),
        *(f"note      {line}" for line in prepared.notes),
        f"output    {plain_address(options.output)}, {nbytes:,} bytes",
    ]
    if options.report is not None:
        lines.append(f"report    {options.report}")
    if prover is not None and prover.record is not None:
        if prover.record.explanation is not None and prover.record.is_unexpected:
            lines.append(f"unproved  {prover.record.explanation}")
        lines.append(prover.record.line)
    return wrap("\n".join(lines), _INDENT) + "\n"


@contextlib.contextmanager
def _suggesting_export(checkpoint: tfckpt.Checkpoint, options: argparse.Namespace) -> Iterator[None]:
    """Say how to export the graph of a checkpoint that is not a network of ours, if it has one."""
    try:
        yield
    except UnknownModelError as error:
        if error.choices:
            raise
        try:
            graph, signatures = checkpoint.graph, checkpoint.signatures
        except tfckpt.CheckpointError:
            raise error from None
        if graph is not None and options.scope is None:
            part = "" if signatures else " --outputs NAME"
            command = f"tf2torch export {shlex.quote(plain_address(options.source))} -o OUT.pt2{part}"
            error.message += f"\nits graph runs in PyTorch and elsewhere as it is: {command} (or OUT.onnx)"
        raise
