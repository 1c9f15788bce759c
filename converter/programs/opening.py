"""From what a caller names to a subject: converted weights, a checkpoint of a known network, a graph, or a module."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

import tfckpt
from tfckpt import Checkpoint
from tfckpt.errors import CheckpointError, CheckpointNotFoundError, CorruptionError, MissingDependencyError
from tfckpt.files.atomic import strip_separators
from tfckpt.limits import DEFAULT_LIMITS, Limits

from .._typing import PathLike
from ..conversion import ConversionOptions, ConversionResult, convert_to_views
from ..errors import ExportError, GraphError, MappingError, OtherNetworkError, UnknownModelError
from ..families.averages import WeightsChoice
from ..formats.files import NETWORK_KEY, PREPROCESSING_KEY, RULES_KEY, is_output, read_network
from ..images.recipes import Preprocessing
from ..loading import load_model, load_network
from ..model.efficientnet import EfficientNet
from ..releases.table import find_preprocessing
from .families import IMAGE, LOGITS, make_family_subject
from .graphs import GraphOptions, open_graph, open_graph_module, use_channels_first
from .metadata import KEPT_KEYS, describe_source, hash_files, hash_tensors_of, read_preprocessing
from .subject import Argument, Subject, make_double, open_module

FEATURES = "features"


Source: TypeAlias = nn.Module | PathLike | Checkpoint | ConversionResult


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How a source is read; `graph` is for graphs, and `weights` and `key` are those of `load_model`.

    `as_graph` takes a graph even if it is a network of ours. `example` are the inputs of any other module,
    and `limits` are those of reading.
    """

    weights: WeightsChoice | None = None
    key: str | None = None
    as_graph: bool = False
    graph: GraphOptions = dataclasses.field(default_factory=GraphOptions)
    example: Sequence[Tensor] | Mapping[str, Tensor] | None = None
    limits: Limits = DEFAULT_LIMITS


def open_subject(source: Source, options: SourceOptions, *, talk: Callable[[str], None] | None = None) -> Subject:
    """Return what a source is taken for: a network if it is one of ours or of a ready family, else a graph.

    A graph is taken too if the options say something about it. `talk` is called with sentences about the source.
    Raises the errors of `load_model` and `graph_module`.
    """
    if isinstance(source, nn.Module):
        return _open_given(source, options)
    if isinstance(source, ConversionResult):
        return _open_result(source)
    name = source.prefix if isinstance(source, Checkpoint) else os.fspath(source)
    if not isinstance(source, Checkpoint) and is_output(source):
        if options.as_graph or options.graph.is_given:
            raise ExportError("converted weights have no graph: the options of graphs do not apply", path=name)
        return _open_weights(name, options, talk)
    if options.as_graph or options.graph.is_given:
        return open_graph(source, options.graph, options.weights, options.limits)
    try:
        with contextlib.ExitStack() as stack:
            if not isinstance(source, Checkpoint):
                checkpoint = stack.enter_context(tfckpt.open(source, limits=options.limits))
            else:
                checkpoint = source
            return _open_result(convert_to_views(checkpoint, ConversionOptions(weights=options.weights or "ema")))
    except (UnknownModelError, MappingError, OtherNetworkError, CheckpointError) as error:
        if isinstance(error, CorruptionError | MissingDependencyError):
            raise
        if isinstance(error, UnknownModelError) and error.choices:
            raise
        failure: Exception = error
    try:
        graph = open_graph(source, options.graph, options.weights, options.limits)
    except (CheckpointNotFoundError, GraphError) as error:
        if _says_no_graph(error):
            raise failure from error
        raise
    if isinstance(failure, MappingError | OtherNetworkError):
        reason = str(failure).partition("\n")[0].removesuffix(":")
        graph = dataclasses.replace(graph, notes=(f"taken as a graph, since {reason}", *graph.notes))
    return graph


def _says_no_graph(error: Exception) -> bool:
    """Whether an error says that there is no graph at all, and not what is wrong with it."""
    return isinstance(error, CheckpointNotFoundError) or str(error).startswith("no graph")


def _open_given(module: nn.Module, options: SourceOptions) -> Subject:
    from ..engine import GraphModule

    module = module.eval()
    if isinstance(module, EfficientNet):
        source = describe_source(type(module).__name__, {"tensors": hash_tensors_of(module)})
        return _make_subject(module, f"EfficientNet {module.config.name}", source)
    if isinstance(module, GraphModule):
        subject = open_graph_module(module, options.graph.shapes)
        return use_channels_first(subject) if options.graph.nchw else subject
    return open_module(module, options.example)


def _open_weights(path: str, options: SourceOptions, talk: Callable[[str], None] | None) -> Subject:
    network = read_network(path, options.key)
    kept = {key: network.metadata[key] for key in KEPT_KEYS if key in network.metadata}
    name = os.path.basename(strip_separators(path))
    source = describe_source(name, hash_files(_list_files(path)))
    if NETWORK_KEY in network.metadata:
        module = load_network(path)
        title = f"{name}, converted weights ({type(module).__name__})"
        return make_family_subject(module, title, {**kept, **source})
    if RULES_KEY in network.metadata:
        raise ExportError(
            "weights converted by rules do not say what computes them: load them into their module, and export that in "
            "Python with converter.export_program(module, OUT, example=INPUTS)",
            path=path,
        )
    model = load_model(path, weights=options.weights, key=options.key, talk=talk)
    return _make_subject(model, f"{name}, converted weights ({_describe(model)})", {**kept, **source})


def _list_files(path: str) -> list[str]:
    return sorted(os.path.join(path, name) for name in os.listdir(path)) if os.path.isdir(path) else [path]


def _open_result(result: ConversionResult) -> Subject:
    """Return the network of a conversion."""
    files = {file.name: file.sha256 for file in result.report.files if file.sha256 is not None}
    name = os.path.basename(strip_separators(result.report.source)) or "checkpoint"
    if result.config is None and result.network is not None:
        module = load_network(result)
        title = f"{name}, checkpoint ({type(module).__name__})"
        return make_family_subject(module, title, describe_source(name, files))
    model = load_model(result)
    preprocessing = find_preprocessing(result.report.releases, model.config)
    return _make_subject(model, f"{name}, checkpoint ({_describe(model)})", describe_source(name, files), preprocessing)


def _describe(model: EfficientNet) -> str:
    return f"network {model.config.name}, {model.config.num_classes} classes"


def _make_subject(
    model: EfficientNet, title: str, metadata: Mapping[str, str], preprocessing: Preprocessing | None = None
) -> Subject:
    import json

    more = {} if preprocessing is None else {PREPROCESSING_KEY: json.dumps(preprocessing.to_dict())}
    more |= {"tf2torch.config": json.dumps(model.config.to_dict())}
    recorded = read_preprocessing({**metadata, **more})
    return Subject(
        kind="network",
        title=title,
        module=model,
        make_exact=lambda: make_double(model),
        arguments=(
            Argument(name=IMAGE, dtype=torch.float32, shape=(None, model.config.in_channels, None, None), sides=(2, 3)),
        ),
        outputs=(LOGITS if model.config.num_classes else FEATURES,),
        size=model.config.eval_size or (None if recorded is None else recorded.size),
        metadata={**more, **metadata},
    )
