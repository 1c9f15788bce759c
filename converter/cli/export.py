"""`tf2torch export`: write a network or any TensorFlow graph as a program for another runtime."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
from typing import Any, NamedTuple

import tfckpt
from tfckpt.addresses import plain_address
from tfckpt.cli.costs import say_transfer, say_upload
from tfckpt.cli.opening import get_limits
from tfckpt.cli.render import say, to_json, wrap
from tfckpt.errors import CheckpointError
from tfckpt.sinks.opening import is_address

from ..conversion import ConversionOptions, convert_to_views
from ..errors import ConversionError
from ..families.averages import WEIGHTS_CHOICES
from ..formats.files import is_output, measure_output
from ..loading import load_model
from ..reporting.renderers import FORMATS as REPORTS
from .options import (
    add_device_option,
    add_graph_part,
    add_graph_selection,
    add_key_option,
    add_network_options,
    add_opening_options,
    add_part_option,
    format_command,
    get_network_options,
    is_release,
    open_source,
    parse_count,
)

HELP = """\
Write a network, or any TensorFlow graph, as a file that runs without tf2torch and without TensorFlow.

  tf2torch export s.safetensors -o s.onnx                        converted or fine-tuned weights
  tf2torch export efficientnetv2-s -o s.pt2                      a release, or any checkpoint of these networks
  tf2torch export uncased_L-12_H-768_A-12 -o bert.onnx           BERT, ResNet and others of tf2torch families
  tf2torch export saved_model -o model.onnx                      any other graph, with the names of its signature
  tf2torch export m.meta -o m.pt2 --outputs probs --set is_training=false
  tf2torch export s.safetensors -o s.xml --size 384 --batch 1    fixed sizes
  tf2torch export s.safetensors -o s.onnx --quantize int8 --calibrate FOLDER

The ending of OUT chooses the destination:

  .pt2    PyTorch (torch.export)              .xml     OpenVINO, with a .bin
  .onnx   ONNX, for onnxruntime and others    .pte     ExecuTorch, fixed sizes
  .py     Python source of a PyTorch module,  .tflite  LiteRT, fixed sizes
          with its weights in a .safetensors

Before OUT gets its name, its own runtime runs it in a separate process at several sizes, and what it computes is
compared with the network in float32 and float64. If it differs, nothing is written and the exit code is 1.
With --dtype or --quantize, what that changes is measured and printed.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "export",
        help="write a program for another runtime, checked by it",
        description=HELP,
    )
    parser.add_argument(
        "source",
        metavar="SRC",
        help="converted weights, a checkpoint, the name of a release, or a graph: a SavedModel, .meta, .pb or .pbtxt",
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="file to write, or an address of object storage"
    )
    parser.add_argument(
        "--weights", choices=WEIGHTS_CHOICES, help="moving averages or raw values (default: ema for our networks)"
    )
    add_key_option(parser)
    add_network_options(parser)
    add_part_option(parser)
    add_opening_options(parser)
    graph = parser.add_argument_group("graphs", "Any of these takes SRC as a graph, even if it is a network of ours.")
    graph.add_argument("--as-graph", action="store_true", help="take SRC as a graph")
    add_graph_selection(graph)
    add_graph_part(graph)
    graph.add_argument(
        "--dropout", choices=("off", "on"), default="off", help="keep dropout, for training (default: off)"
    )
    graph.add_argument("--nchw", action="store_true", help="take and return images as NCHW instead of NHWC")
    sizes = parser.add_argument_group("sizes")
    batch = sizes.add_mutually_exclusive_group()
    batch.add_argument("--batch", metavar="N", type=parse_count, help="fixed number of images (default: any, or 1)")
    batch.add_argument("--dynamic-batch", action="store_true", help="any number of images, or fail")
    size = sizes.add_mutually_exclusive_group()
    size.add_argument(
        "--size", metavar="N", type=_parse_size, help="pixels of a side, or HEIGHTxWIDTH (default: the usual size)"
    )
    size.add_argument("--dynamic-size", action="store_true", help="any height and width, or fail")
    sizes.add_argument("--static", action="store_true", help="no axis of any size")
    sizes.add_argument(
        "--dynamic",
        metavar="T:1,2",
        action="append",
        type=_parse_axes,
        default=[],
        help="axes of an input that have any size, counted from 0; may be repeated",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--opset", metavar="N", type=parse_count, help="ONNX opset, 18 or newer (default: 20)")
    output.add_argument(
        "--style",
        choices=("modules", "plain"),
        default="modules",
        help="for .py: layers of torch.nn in NCHW, or one call an operation (default: modules)",
    )
    output.add_argument("--dtype", choices=("float16",), help="precision of the weights in OUT (default: float32)")
    output.add_argument("--quantize", choices=("int8",), help="store weights and compute in int8 (.onnx, .pte)")
    output.add_argument(
        "--calibrate",
        metavar="FOLDER|NPZ",
        help="images that int8 is calibrated with: a folder, or an .npz with images (NHWC)",
    )
    output.add_argument(
        "--calibrate-images", metavar="N", type=parse_count, default=200, help="at most this many (default: 200)"
    )
    output.add_argument(
        "--data",
        metavar="LABELLED",
        help="labelled images that show what int8 or float16 changes, as for tf2torch evaluate",
    )
    output.add_argument(
        "--max-drop",
        metavar="SHARE",
        type=_parse_share,
        default=0.01,
        help="loss of accuracy on --data that is allowed (default: 0.01)",
    )
    check = parser.add_argument_group("check")
    check.add_argument(
        "--check", metavar="N", type=parse_count, default=1, help="random inputs for each size (default: 1)"
    )
    check.add_argument(
        "--expect", metavar="FILE.npz", help="inputs and outputs by name that TensorFlow recorded, to compare with too"
    )
    add_device_option(check)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="also write what was exported and how it was checked, even if it differs; FILE ends in "
        f"{' or '.join(REPORTS)}",
    )
    parser.add_argument("--force", action="store_true", help="overwrite OUT and FILE if they exist")
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Export, and print what was written."""
    import converter

    source = _open(options)
    report = converter.export_program(
        source,
        options.output,
        weights=options.weights,
        key=options.key,
        as_graph=options.as_graph,
        signature=options.signature,
        tags=options.tag,
        checkpoint=options.checkpoint,
        inputs=options.inputs,
        outputs=options.outputs,
        constants=dict(options.set),
        dropout=options.dropout == "on",
        nchw=options.nchw,
        batch=options.batch,
        dynamic_batch=options.dynamic_batch,
        size=options.size,
        dynamic_size=options.dynamic_size,
        static=options.static,
        dynamic=dict(options.dynamic),
        opset=options.opset,
        style=options.style,
        dtype=options.dtype,
        quantize=options.quantize,
        calibrate=options.calibrate,
        calibrate_images=options.calibrate_images,
        data=options.data,
        max_drop=options.max_drop,
        check=options.check,
        expect=options.expect,
        device=options.device,
        limits=get_limits(options),
        report=options.report,
        # The address an archive comes from does not change the result, and it may contain a password.
        command=format_command(options, ("report", "json", "force", "base_url", "cache")),
        force=options.force,
        talk=say,
    )
    if options.json:
        print(to_json(report.to_dict()))
        return 0
    print(wrap(report.summary(), 10))
    if options.report is not None:
        print(f"report    {options.report}")
    return 0


def _open(options: argparse.Namespace) -> Any:
    """Return SRC as a path, an open release, or what the options say about a network make of it."""
    described = {**get_network_options(options), "part": options.part}
    given = [f"--{name}" for name, value in described.items() if value is not None]
    if is_output(options.source) or (not given and not is_release(options.source)):
        _say_cost(options)
    if is_output(options.source):
        if not given:
            return options.source
        if given != ["--strides"]:
            raise ConversionError(f"{', '.join(given)}: these options describe a checkpoint, not converted weights")
        return load_model(options.source, weights=options.weights, strides=options.strides, key=options.key, talk=say)
    if not given and not is_release(options.source):
        return options.source
    checkpoint, release = open_source(options.source, options)
    say_transfer(checkpoint, options.output)
    if not given:
        return checkpoint
    with checkpoint:
        described |= {"weights": options.weights or "ema", "release": release}
        return convert_to_views(checkpoint, ConversionOptions(**described))


#: Archives by their names; to look at what is inside one at an address is to download it.
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|gz|bz2|xz)(!|$)", re.IGNORECASE)


def _say_cost(options: argparse.Namespace) -> None:
    """Say what is read and written at addresses; a graph without a checkpoint is small.

    Nothing is said about an archive at an address, which would be downloaded for it.
    """
    path = options.source
    if is_address(path) and _ARCHIVE.search(plain_address(path)):
        return
    if is_output(path):
        if is_address(options.output) and os.path.exists(path):
            say_upload(options.output, measure_output(path))
    elif is_address(path) or is_address(options.output):
        with contextlib.suppress(CheckpointError), tfckpt.open(path, limits=get_limits(options)) as checkpoint:
            say_transfer(checkpoint, options.output)


class _Axes(NamedTuple):
    """Axes of an input that have any size."""

    name: str
    axes: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}:{','.join(map(str, self.axes))}"


class _Size(NamedTuple):
    """Pixels of an image."""

    height: int
    width: int

    def __str__(self) -> str:
        return str(self.height) if self.height == self.width else f"{self.height}x{self.width}"


def _parse_axes(text: str) -> _Axes:
    name, _, axes = text.rpartition(":")
    if not name or not re.fullmatch(r"\d{1,2}(,\d{1,2})*", axes, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not an input and its axes such as image:1,2")
    return _Axes(name, tuple(map(int, axes.split(","))))


def _parse_size(text: str) -> _Size:
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 224 or 480x640")
    height = int(match[1])
    return _Size(height, int(match[2] or height))


def _parse_share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share
