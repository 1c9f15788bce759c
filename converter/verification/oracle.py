"""The proof of layers: a probe, a run of the network and of the graph saved with the checkpoint, and causes."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from tfckpt import Checkpoint

from .._typing import Array
from ..errors import ConversionError, GraphError
from ..images.recipes import Preprocessing, get_recipe
from ..model.config import EfficientNetConfig
from . import probes
from .diagnosis import diagnose
from .layers import compare_layers, run_oracle
from .layers_report import LayersReport
from .pairing import Pairing, pair_layers
from .weights import WeightsReport

if TYPE_CHECKING:
    from ..engine.reference_graph import ReferenceGraph
    from ..engine.variables import Weights
    from ..model.efficientnet import EfficientNet


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """Options of the input: `probe` is `random`, or the path of an `.npz` or an image; None is the default, random.

    `size` is the requested side in pixels.
    With `small`, the side is the smallest of at least `SMALL_SIZE` at which every layer has the parity of its own size,
    also if the graph declares that size: paddings depend only on the parity.
    """

    probe: str | None = None
    seed: int = 0
    size: int | None = None
    small: bool = False


def build_oracle(checkpoint: Checkpoint) -> ReferenceGraph | None:
    """Return the graph saved with a checkpoint, ready to run with its values, or None.

    A graph of training runs as the network that it trains: without dropout, and with moving statistics.
    """
    from ..engine.reference_graph import ReferenceGraph

    meta_graph = checkpoint.meta_graph
    if meta_graph is None or not len(meta_graph.graph):
        return None
    name = "saved_model.pb" if checkpoint.saved_model is not None else f"{os.path.basename(checkpoint.prefix)}.meta"
    if checkpoint.graph_file is not None:
        name = os.path.basename(checkpoint.graph_file)
    return ReferenceGraph(
        meta_graph.graph,
        path=name,
        checkpoint=checkpoint,
        signatures=meta_graph.signatures,
        objects=meta_graph.objects,
        trainable={variable.name: variable.trainable for variable in meta_graph.variables},
        moving_statistics=True,
    )


def choose_oracle_weights(report: WeightsReport) -> Weights:
    """Return the choice of weights for the oracle, which is that of the conversion."""
    return "averages" if report.averages else "raw"


def pair_output(graph: ReferenceGraph, weights: WeightsReport) -> Pairing:
    """Pair the graph with the network of a conversion.

    Raises `GraphError` if the graph does not compute this network.
    """
    if weights.config is None:
        raise GraphError("layers of a network that is described by rules cannot be paired with a graph")
    return pair_layers(
        graph, weights.config, {move.target: move.source for move in weights.moves}, choose_oracle_weights(weights)
    )


def prove_layers(
    graph: ReferenceGraph,
    model: EfficientNet,
    weights: WeightsReport,
    options: ProbeOptions,
    *,
    preprocessing: Preprocessing | None = None,
    double: bool = False,
    tolerance: float | None = None,
    needs_finite: bool = False,
    is_final: bool = True,
) -> LayersReport:
    """Compare a model with the graph saved with its checkpoint, and look for faults of structure if they differ.

    `preprocessing` is for a probe that is an image. Unless the comparison `is_final`, no causes are looked for.
    With `needs_finite`, a graph whose own values are infinite or NaN for the probe raises a `GraphError`; otherwise its
    layers do not agree with anything.
    Raises `GraphError` if the graph cannot run or computes another network, `FeedError` if the probe does not match.
    """
    pairing = pair_output(graph, weights)
    probe, name = _make_probe(pairing, model.config, options, preprocessing)
    run = run_oracle(graph, pairing, probe, choose_oracle_weights(weights), any_size=options.small)
    if needs_finite and not run.is_finite:
        raise GraphError(f"the values of the graph {graph.path} are not finite for a {name}")
    report = compare_layers(model, run, double=double, tolerance=tolerance, probe_name=name)
    if report.ok or not is_final:
        return report
    return dataclasses.replace(report, causes=diagnose(model, run, report, graph=graph))


def _make_probe(
    pairing: Pairing, config: EfficientNetConfig, options: ProbeOptions, preprocessing: Preprocessing | None
) -> tuple[Array, str]:
    """Return the input and its description."""
    usual = config.eval_size or config.train_size
    shape = probes.choose_shape(pairing.input_shape, config.in_channels, size=options.size, usual=usual)
    if options.small:
        shape = probes.shrink(shape)
    if options.probe in (None, probes.RANDOM):
        probe = probes.make_random_probe(shape, options.seed)
        name = f"random probe, seed {options.seed}"
    else:
        assert options.probe is not None, "None is random"
        settings = preprocessing or get_recipe("v2", shape[1])
        probe = probes.read_probe(options.probe, shape, pairing.input_shape, settings)
        name = f"probe {os.path.basename(options.probe)}"
    if probe.ndim != 4 or probe.shape[3] != config.in_channels:
        raise ConversionError(f"the probe is {list(probe.shape)}, but the network takes {config.in_channels} channels")
    return probe, f"{name}, {'×'.join(map(str, probe.shape))}"
