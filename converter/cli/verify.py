"""`tf2torch verify`: prove that an output matches its checkpoint, weight by weight and layer by layer."""

from __future__ import annotations

import argparse
import os

import tfckpt
from tfckpt.cli import render
from tfckpt.cli.costs import say_transfer
from tfckpt.errors import MissingDependencyError
from tfckpt.files.atomic import strip_separators

from .._typing import Array
from ..errors import ConversionError, ExportError, GraphError, UnsupportedOpError
from ..families.averages import WEIGHTS_CHOICES, strip_average
from ..formats.files import atomic_file, check_free, read_output
from ..formats.proof import hash_tensors
from ..images.recipes import Preprocessing
from ..mapping.modules import import_module
from ..verification.activations import FLOAT32_TOLERANCE, ActivationsReport, compare, load_golden
from ..verification.devices import check_device, full_float32
from ..verification.layers_report import LayersReport
from ..verification.modules import ModuleReport, fill_module, prove_module
from ..verification.pairing import TrainingGraphError
from ..verification.recorded import check_recorded, describe_record, read_recorded
from ..verification.renderers import FORMATS, choose_renderer, to_json
from ..verification.report import Proof
from ..verification.weights import WeightsReport, verify_weights
from .options import (
    SOURCE_HELP,
    add_device_option,
    add_graph_option,
    add_interface_options,
    add_network_options,
    add_opening_options,
    add_part_option,
    add_rules_options,
    get_interface,
    get_network_options,
    open_source,
    require_one_way,
)
from .progress import progress_bar

HELP = """\
Prove that converted weights are the checkpoint's, and that the network computes the same as the checkpoint's graph.

  tf2torch verify efficientnetv2-s s.safetensors
  tf2torch verify efficientnetv2-s s.safetensors --float64 --report s.html
  tf2torch verify efficientnetv2-s s.safetensors --golden probe.npz      also with values that TensorFlow recorded
  tf2torch verify s.safetensors      show the proof recorded in it, and whether its tensors are those that were proved

Weights: reversing every layout reproduces the checkpoint's bytes.

Layers: the graph saved with the checkpoint (.meta, saved_model.pb) runs without TensorFlow in TensorFlow's layouts,
and every layer of the converted network is compared with it. Without a graph, only the weights are proved.
If a layer differs, experiments look for the cause in its structure.

The record: `tf2torch convert` stores what it proved in the output. With OUT alone, verify shows it and compares the
SHA-256 of the tensors, without the source and without PyTorch. The record is not signed: whoever can change the tensors
can change it too, and only a comparison with SRC is independent of it.

The exit code is 0 if everything agrees, 1 if something differs, and 5 if OUT is alone and has no record.
"""
_LARGEST_SIZE = 4096
#: How often each tensor is read: once to compare it with the output, and once by the graph.
_PASSES = 2
#: Columns of the titles.
_INDENT = 10


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "verify",
        help="prove converted weights against the checkpoint and its graph",
        description=HELP,
    )
    parser.add_argument("source", metavar="SRC", help=f"{SOURCE_HELP}; or OUT alone")
    parser.add_argument("output", metavar="OUT", nargs="?", help="file or folder that was converted from SRC")
    parser.add_argument(
        "--weights",
        choices=WEIGHTS_CHOICES,
        help="values that OUT was made from (default: as recorded in OUT, else ema)",
    )
    add_network_options(parser)
    add_part_option(parser)
    add_graph_option(parser)
    add_opening_options(parser)
    add_rules_options(parser)
    parser.add_argument(
        "--probe",
        metavar="FILE",
        action="append",
        help="input of both networks: an image, or an .npz with an NHWC array named input (default: random numbers). "
        "For a module of --into, IN=TENSOR: its input, and the tensor of the graph that gets the same random numbers; "
        "may be repeated",
    )
    add_interface_options(parser, probe=False)
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="seed of the random numbers (default: 0)")
    parser.add_argument(
        "--size",
        metavar="PIXELS",
        type=_parse_size,
        help="height and width of the probe (default: the graph's size, else the network's, at most 224)",
    )
    parser.add_argument(
        "--float64", action="store_true", help="run the network in float64, for the most precise comparison"
    )
    parser.add_argument(
        "--tolerance",
        metavar="T",
        type=_parse_tolerance,
        help="allowed difference of a layer, relative to its largest value (default: 8 times the graph's own float32 "
        f"noise in that layer; for --golden {FLOAT32_TOLERANCE:g})",
    )
    parser.add_argument(
        "--weights-only",
        action="store_true",
        help="do not compare the layers, even if the checkpoint has a graph",
    )
    add_device_option(parser)
    parser.add_argument("--brief", action="store_true", help="do not print the table of layers")
    parser.add_argument(
        "--golden",
        metavar="FILE.npz",
        help="values that TensorFlow computed, to compare with: input (NHWC), logits, endpoint:NAME",
    )
    parser.add_argument(
        "--report", metavar="FILE", help=f"also write the whole comparison; FILE ends in {' or '.join(FORMATS)}"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing report")
    parser.add_argument("--json", action="store_true", help="print the whole comparison as JSON")
    parser.set_defaults(run=run, optional="output", parser=parser)


def run(options: argparse.Namespace) -> int:
    """Compare and report; a difference in one part does not stop the comparison of the others."""
    if options.output is None:
        return _show_recorded(options)
    require_one_way(options)
    if options.device != "cpu":
        check_device(options.device)
    golden = None if options.golden is None else load_golden(options.golden)
    render_report = None
    if options.report is not None:
        render_report = choose_renderer(options.report)
        check_free(options.report, force=options.force)
        if os.path.realpath(options.report) == os.path.realpath(options.output):
            raise ExportError("the report and the output cannot be the same file", path=options.output)
    checkpoint, _ = open_source(options.source, options)
    with checkpoint:
        say_transfer(checkpoint, passes=1 if options.weights_only else _PASSES)
        with progress_bar("comparing") as progress:
            weights = verify_weights(
                checkpoint,
                options.output,
                weights=options.weights,
                **get_network_options(options),
                part=options.part,
                rules=options.rules,
                into=None if options.into is None else import_module(options.into),
                progress=progress,
            )
        if not options.json:
            print(render.wrap(weights.summary(), _INDENT), flush=True)
        layers, reasons = _prove_layers(options, checkpoint, weights)
    recorded = None
    if golden is not None and weights.config is not None:
        try:
            recorded = _compare_recorded(options, weights, golden)
        except ConversionError:
            if weights.ok:
                raise
            reasons.append(
                "whether the network computes the recorded values: the output's tensors do not form this network"
            )
    proof = Proof(
        source=os.path.basename(checkpoint.prefix),
        output=os.path.basename(strip_separators(options.output)),
        weights=weights,
        layers=layers,
        golden=recorded,
        not_proved=tuple(reasons),
    )
    if render_report is not None:
        with atomic_file(options.report, force=options.force) as file:
            file.write(render_report(proof).encode())
    if options.json:
        print(to_json(proof), end="")
    else:
        _print_rest(proof, options)
    proof.require()
    return 0


def _print_rest(proof: Proof, options: argparse.Namespace) -> None:
    """Print what was compared after the weights, and what was not."""
    for part in (proof.golden, proof.layers):
        if part is not None:
            print(render.wrap(part.summary(), _INDENT))
    if proof.layers is not None and not options.brief:
        print(proof.layers.table())
    for reason in proof.not_proved:
        print(render.wrap(f"unproved  {reason}", _INDENT))
    if options.report is not None:
        print(f"report    {options.report}")


def _show_recorded(options: argparse.Namespace) -> int:
    """Show the proof recorded in an output, and raise if it has none or if its tensors are not those proved."""
    parser: argparse.ArgumentParser = options.parser
    for action in parser._actions:
        if action.dest == "json" or not action.option_strings:
            continue
        if getattr(options, action.dest, action.default) != action.default:
            parser.error(f"{action.option_strings[0]} needs both SRC and OUT")
    record, tensors = read_recorded(options.source)
    if not options.json:
        print(render.wrap(describe_record(record, options.source), _INDENT), flush=True)
    actual = hash_tensors(tensors)
    if options.json:
        is_same = actual == record.tensors_sha256
        print(render.to_json({"ok": is_same, "recorded": record.to_dict(), "tensors_sha256": actual}))
    check_recorded(record, actual)
    if options.json:
        return 0
    print("tensors   those that were proved: their SHA-256 is")
    print(f"          {record.tensors_sha256}")
    return 0


def _prove_layers(
    options: argparse.Namespace, checkpoint: tfckpt.Checkpoint, weights: WeightsReport
) -> tuple[LayersReport | ModuleReport | None, list[str]]:
    """Compare the layers if there is a graph; else return the reasons why they are not proved."""
    needs_graph = options.probe is not None or options.float64 or options.size is not None
    what = "whether the network computes the same as TensorFlow (paddings, epsilons, order of layers)"
    if options.golden is not None:
        what = f"beyond the recorded values, {what}"
    if options.weights_only:
        return None, [f"{what}: --weights-only was given"]
    if weights.config is None:
        return _prove_module(options, checkpoint, weights, what)
    if options.compare or len(options.probe or ()) > 1:
        raise ExportError("an EfficientNet has one input and one output: --probe takes one file, and --compare nothing")
    probe = options.probe[0] if options.probe else None
    try:
        from ..loading import load_model
        from ..verification.oracle import ProbeOptions, build_oracle, prove_layers

        graph = build_oracle(checkpoint)
    except (ModuleNotFoundError, MissingDependencyError) as error:
        if needs_graph or getattr(error, "name", "torch") not in ("torch", None):
            raise
        return None, [f"{what}: torch is not installed (extra torch)"]
    if graph is None:
        if needs_graph:
            raise GraphError(f"{checkpoint.prefix}: this checkpoint has no graph to run a probe on")
        return None, [f"{what}: the checkpoint has no graph (.meta or saved_model.pb)"]
    try:
        model = load_model(options.output, strides=tuple(stage.stride for stage in weights.config.stages))
    except ConversionError:
        if weights.ok:
            raise
        return None, [f"{what}: the output's tensors do not form this network"]
    try:
        with full_float32(options.device):
            layers = prove_layers(
                graph,
                model.to(options.device),
                weights,
                ProbeOptions(probe=probe, seed=options.seed, size=options.size),
                preprocessing=_find_preprocessing(options),
                double=options.float64,
                tolerance=options.tolerance,
            )
    except TrainingGraphError as error:
        if needs_graph:
            raise
        return None, [f"{what}: {error}"]
    return layers, []


def _prove_module(
    options: argparse.Namespace, checkpoint: tfckpt.Checkpoint, weights: WeightsReport, what: str
) -> tuple[ModuleReport | None, list[str]]:
    """Compare the outputs of a ready network's module, or of that of --into; else return the reasons why not."""
    interface = get_interface(options)
    is_required = bool(interface.inputs or interface.outputs)
    into = None if options.into is None else import_module(options.into)
    if options.rules is not None and into is None:
        return None, [f"{what}: no module is known to run; give one with --into"]
    try:
        from ..loading import load_network
        from ..verification.oracle import build_oracle, choose_oracle_weights

        graph = build_oracle(checkpoint)
        if graph is None:
            return None, [f"{what}: the checkpoint has no graph (.meta or saved_model.pb)"]
        module = (
            load_network(options.output) if into is None else fill_module(into, read_output(options.output).tensors)
        )
    except (ModuleNotFoundError, MissingDependencyError) as error:
        return None, [f"{what}: {error}"]
    except ConversionError:
        if weights.ok:
            raise
        return None, [f"{what}: the output's tensors do not form this network"]
    variables = {strip_average(move.source): move.source_shape for move in weights.moves}
    try:
        chosen = choose_oracle_weights(weights)
        report = prove_module(
            graph, module, variables, interface, weights=chosen, seed=options.seed, device=options.device
        )
        return report, []
    except (GraphError, UnsupportedOpError) as error:
        if is_required:
            raise
        return None, [f"{what}: {error}"]


def _find_preprocessing(options: argparse.Namespace) -> Preprocessing | None:
    """Return how an image becomes a probe, or None if the output does not record it."""
    if options.probe is None:
        return None
    from ..preprocessing import preprocessing_of

    try:
        return preprocessing_of(options.output)
    except ConversionError:
        return None


def _compare_recorded(
    options: argparse.Namespace, weights: WeightsReport, golden: dict[str, Array]
) -> ActivationsReport:
    """Compare with the values that TensorFlow recorded."""
    from ..loading import load_model

    assert weights.config is not None, "the caller checks it"
    model = load_model(options.output, strides=tuple(stage.stride for stage in weights.config.stages))
    model = model.to(options.device)
    return compare(model, golden, tolerance=FLOAT32_TOLERANCE if options.tolerance is None else options.tolerance)


def _parse_tolerance(text: str) -> float:
    try:
        tolerance = float(text)
    except ValueError:
        tolerance = -1.0
    if not 0 <= tolerance < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a tolerance: a number from 0 to below 1, such as 1e-5")
    return tolerance


def _parse_size(text: str) -> int:
    size = int(text) if text.isdecimal() else 0
    if not 1 <= size <= _LARGEST_SIZE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from 1 to {_LARGEST_SIZE}")
    return size
