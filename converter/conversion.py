"""From a TensorFlow checkpoint to a PyTorch state dict of NumPy arrays, with a report; torch is not needed.

First everything is planned from names and shapes, then tensors are read.
Nothing is read when the plan does not fit, and the error lists all that stands against it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import tfckpt
from tfckpt.errors import printable

from ._typing import Array, PathLike, Progress, SourceLike
from .errors import ConversionError, MappingError, Shape, UnknownModelError
from .families import search
from .families.averages import WEIGHTS_CHOICES, Selection, WeightsChoice, select_weights
from .families.graph_facts import GraphFacts, read_graph
from .families.variables import Inventory, inventory_of_checkpoint, inventory_of_names
from .mapping.layout import LAYOUTS
from .mapping.modules import Into, read_targets
from .mapping.report import ConstantRecord, ConversionReport, FileRecord, IgnoredRecord, TensorRecord
from .mapping.rules import Draft, Plan, RuleSet, derive_targets, draft, plan
from .model.config import EfficientNetConfig
from .model.names import native_targets
from .releases.which import releases_of

#: Keras's EfficientNet of version 1 stores deviations where variances belong, and makes up for it with another layer.
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
#: Channels whose statistics are worth a sentence.
_MAX_STATISTICS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class ConversionPlan:
    """What would be converted: the network, the way of every tensor, and the report of it. No tensor is read yet.

    `config` is None where rules of the user's own convert a network of another kind.
    `targets` are all names and shapes of the result, in its order.
    `read` gives the source's tensors of the names it gets, in their order, while the source is open.
    """

    config: EfficientNetConfig | None
    plan: Plan
    report: ConversionReport
    rules: RuleSet
    targets: Mapping[str, Shape]
    read: Callable[[Sequence[str]], Iterator[Array]] = dataclasses.field(compare=False, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class ConversionResult:
    """A converted network.

    `state_dict` has the keys of our PyTorch module in its order; `config` describes that module.
    Of a conversion by rules of the user's own the keys are those of the module it was made for, and `config` is None.
    Its arrays are read-only views of the checkpoint's memory map where possible, with whatever strides the layout gave
    them, and stay valid when the checkpoint is closed.
    """

    state_dict: dict[str, Array]
    config: EfficientNetConfig | None
    report: ConversionReport
    rules: RuleSet

    def required_config(self) -> EfficientNetConfig:
        """Give the config; `ConversionError` when this is no network of ours."""
        if self.config is None:
            raise ConversionError(f"the rules {self.rules.name} converted a network of another kind than EfficientNet")
        return self.config


def convert(
    source: SourceLike,
    *,
    model: str = "auto",
    weights: WeightsChoice = "ema",
    strides: Sequence[int] | None = None,
    scope: str | None = None,
    head: str | None = None,
    release: str | None = None,
    rules: RuleSet | PathLike | None = None,
    into: Into | None = None,
    progress: Progress | None = None,
) -> ConversionResult:
    """Convert a checkpoint of an EfficientNet or EfficientNetV2 that the released TensorFlow code or Keras wrote.

    `model` is a published network's name, or `auto`: recognise it from names and shapes, whatever its class count.
    `weights` is `ema` for the moving average of every variable that has one, or `raw` for the plain values.
    `strides`, one for each stage, are needed for a network that is not published and has no graph beside it.
    `scope` is needed when several networks share a checkpoint; an empty one is the root.
    `head` is the name of a dense layer beside the network that becomes its classifier.
    `release` is the release that it is, where names and shapes leave several; preprocessing follows from it.
    `rules`, a rule set or a TOML file of one, convert any other network: into the module or the names and shapes that
    `into` gives, or else into whatever the rules make; what recognises an EfficientNet then has no place.
    Every tensor's checksum is compared as it is read.

    Raises `UnknownModelError`, `MappingError` with all findings, or what `tfckpt` raises about the checkpoint itself.
    """
    with opened(source) as tensors:
        planned = plan_conversion(
            tensors,
            model=model,
            weights=weights,
            strides=strides,
            scope=scope,
            head=head,
            release=release,
            rules=rules,
            into=into,
        )
        state_dict: dict[str, Array] = {}
        total = planned.report.nbytes
        done = 0
        moves = planned.plan.moves
        for move, stored in zip(moves, planned.read([move.source for move in moves]), strict=True):
            array = LAYOUTS[move.layout].apply(stored)
            state_dict[move.target] = array
            done += array.nbytes
            if progress is not None:
                progress(done, total)
    for filled in planned.plan.constants:
        state_dict[filled.target] = np.full(planned.targets[filled.target], filled.value, filled.dtype)
    ordered = {target: state_dict[target] for target in planned.targets}
    return ConversionResult(ordered, planned.config, planned.report, planned.rules)


def plan_conversion(
    tensors: Mapping[str, Array],
    *,
    model: str = "auto",
    weights: WeightsChoice = "ema",
    strides: Sequence[int] | None = None,
    scope: str | None = None,
    head: str | None = None,
    release: str | None = None,
    rules: RuleSet | PathLike | None = None,
    into: Into | None = None,
) -> ConversionPlan:
    """Decide what becomes what, from names, shapes and the graph; options and errors are those of `convert`."""
    if weights not in WEIGHTS_CHOICES:
        raise ValueError(f"weights is {weights!r}, expected one of {', '.join(WEIGHTS_CHOICES)}")
    source = _source_of(tensors)
    if rules is not None:
        if model != "auto" or any(said is not None for said in (strides, scope, head, release)):
            options = "model, strides, scope, head and release"
            raise ValueError(f"{options} say what an EfficientNet is; rules take none of them")
        return _plan_by_rules(source, _rule_set(rules), into, weights)
    if into is not None:
        raise ValueError("into is the target of rules, and no rules are given")
    graph, unread = _graph(source)
    prepared = search.prepare(
        source.inventory,
        model=model,
        weights=weights,
        strides=strides,
        scope=scope,
        head=head,
        graph=graph,
    )
    targets = native_targets(prepared.config)
    try:
        planned = plan(prepared.selection.sources, prepared.rules, targets, set_aside=prepared.selection.set_aside)
    except MappingError as error:
        if model == "auto":
            raise
        raise error.with_hint(f"{model} was asked for; {prepared.best_fit()}") from None
    releases = releases_of(prepared.config, prepared.family.name, source.path, asked=release)
    notes = [*prepared.notes, *unread, *_input_normalization(source, prepared.input_statistics)]
    if not releases.decided:
        notes.append(releases.sentence)
    report = dataclasses.replace(
        _report(source, planned, rules=prepared.rules, selection=prepared.selection, weights=weights),
        config=prepared.config.to_dict(),
        parameters=prepared.config.parameter_count(),
        evidence=(*prepared.evidence, *([releases.sentence] if releases.decided and releases.sentence else [])),
        releases=releases.names,
        head=head,
        notes=tuple(notes),
    )
    return ConversionPlan(prepared.config, planned, report, prepared.rules, targets, source.read)


def plan_with_strides_of(
    tensors: Mapping[str, Array],
    describe: Callable[[], EfficientNetConfig | None],
    *,
    weights: WeightsChoice = "ema",
    strides: Sequence[int] | None = None,
    scope: str | None = None,
    head: str | None = None,
) -> ConversionPlan:
    """Plan a conversion, with the strides of the network that `describe` returns if the source does not show its own.

    `describe` is called only then.
    If it returns None or raises `UnknownModelError`, or its strides do not help, the first error is raised.
    """
    try:
        return plan_conversion(tensors, weights=weights, strides=strides, scope=scope, head=head)
    except UnknownModelError:
        if strides is None:
            with contextlib.suppress(UnknownModelError):
                config = describe()
                if config is not None:
                    strides = tuple(stage.stride for stage in config.stages)
                    return plan_conversion(tensors, weights=weights, strides=strides, scope=scope, head=head)
        raise


def _plan_by_rules(source: _Source, rules: RuleSet, into: Into | None, weights: WeightsChoice) -> ConversionPlan:
    drafted = _draft_by_rules(source, rules, into, weights)
    idle = [printable(rule.source) for rule in drafted.draft.idle]
    try:
        planned = drafted.draft.to_plan()
    except MappingError as error:
        raise (error.with_hint(f"rules that take no tensor: {', '.join(idle)}") if idle else error) from None
    if not planned.moves:
        raise ConversionError(f"nothing is converted: no tensor is taken by the rules of {printable(rules.name)}")
    report = _report(source, planned, rules=rules, selection=drafted.selection, weights=weights)
    notes = tuple(f"the rule {rule} takes no tensor" for rule in idle)
    return ConversionPlan(None, planned, dataclasses.replace(report, notes=notes), rules, drafted.targets, source.read)


@dataclasses.dataclass(frozen=True, slots=True)
class RulesDraft:
    """What rules make of a checkpoint, complete or not."""

    draft: Draft
    selection: Selection
    targets: Mapping[str, Shape]


def draft_by_rules(
    tensors: Mapping[str, Array],
    rules: RuleSet | PathLike,
    into: Into | None = None,
    *,
    weights: WeightsChoice = "ema",
) -> RulesDraft:
    """Say what rules make of a checkpoint, without asking that it be complete; no tensor is read."""
    return _draft_by_rules(_source_of(tensors), _rule_set(rules), into, weights)


def _draft_by_rules(source: _Source, rules: RuleSet, into: Into | None, weights: WeightsChoice) -> RulesDraft:
    inventory = source.inventory
    named = [search.source_of(variable.name(rules.names), variable) for variable in inventory.variables]
    selection = select_weights(named, weights)
    targets = derive_targets(selection.sources, rules) if into is None else read_targets(into)
    set_aside = (*inventory.set_aside, *selection.set_aside)
    return RulesDraft(draft(selection.sources, rules, targets, set_aside=set_aside), selection, targets)


def _rule_set(rules: RuleSet | PathLike) -> RuleSet:
    if isinstance(rules, RuleSet):
        return rules
    from .mapping.rules_file import read_rules

    return read_rules(rules)


def _report(
    source: _Source,
    planned: Plan,
    *,
    rules: RuleSet,
    selection: Selection,
    weights: WeightsChoice,
) -> ConversionReport:
    """Record a plan, of whatever network."""
    strings = [printable(move.source) for move in planned.moves if not source.facts[move.source].numeric]
    if strings:
        raise ConversionError(f"tensors hold strings, expected numbers: {', '.join(strings)}")
    variables = {tensor.name: tensor.variable for tensor in selection.sources}
    averages = {tensor.name for tensor in selection.sources if tensor.averaged}
    records = tuple(
        TensorRecord(
            move.source,
            move.target,
            move.layout,
            move.source_shape,
            move.target_shape,
            source.facts[move.source].dtype.name,
            source.facts[move.source].crc32c,
            variables[move.source],
        )
        for move in planned.moves
    )
    return ConversionReport(
        source=source.name,
        files=source.files(),
        config=None,
        parameters=sum(math.prod(record.target_shape) for record in records),
        evidence=(),
        weights=weights,
        averaged=sum(move.source in averages for move in planned.moves),
        scope=rules.scope,
        rules=rules.name,
        rules_version=rules.version,
        tensors=records,
        ignored=tuple(IgnoredRecord(*ignored) for ignored in planned.ignored),
        constants=tuple(ConstantRecord(*filled) for filled in planned.constants),
        nbytes=sum(source.facts[move.source].nbytes for move in planned.moves),
        versions={"tfckpt": tfckpt.__version__, "numpy": np.__version__},
    )


@contextlib.contextmanager
def opened(source: SourceLike) -> Iterator[Mapping[str, Array]]:
    """Give the tensors of a source; a checkpoint that is opened here is closed here."""
    if isinstance(source, Mapping):
        yield source
    else:
        with tfckpt.open(source) as checkpoint:
            yield checkpoint


@dataclasses.dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of a source tensor before it is read."""

    shape: Shape
    dtype: np.dtype[Any]
    nbytes: int
    crc32c: int | None

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers, not strings."""
        return not self.dtype.hasobject


@dataclasses.dataclass(frozen=True, slots=True)
class _Source:
    """What is converted: a checkpoint, name-based or object-based, or arrays in memory.

    `name` is what reports call it, and `path` where it is, empty for arrays.
    `graph` and `files` read nothing until they are called; `read` gives the tensors of some names, in their order.
    """

    name: str
    path: str
    facts: Mapping[str, _Facts]
    inventory: Inventory
    graph: Callable[[], tfckpt.Graph | None]
    files: Callable[[], tuple[FileRecord, ...]]
    read: Callable[[Sequence[str]], Iterator[Array]]


def _source_of(tensors: Mapping[str, Array]) -> _Source:
    """Describe a source; nothing else here asks what kind it is."""
    if not isinstance(tensors, tfckpt.Checkpoint):
        facts = {name: _Facts(array.shape, array.dtype, array.nbytes, None) for name, array in sorted(tensors.items())}
        return _Source(
            name="arrays in memory",
            path="",
            facts=facts,
            inventory=_inventory_by_name(facts),
            graph=lambda: None,
            files=tuple,
            read=lambda names: (tensors[name] for name in names),
        )
    facts = {info.name: _Facts(info.shape, info.dtype, info.nbytes, info.crc32c) for info in tensors.infos()}
    objects = tensors.object_graph
    return _Source(
        name=os.path.basename(tensors.prefix),
        path=tensors.prefix,
        facts=facts,
        inventory=_inventory_by_name(facts) if objects is None else inventory_of_checkpoint(tensors, objects),
        graph=lambda: tensors.graph,
        files=lambda: _files(tensors),
        read=lambda names: (array for _, array in tensors.read_many(names)),  # by several threads, verified
    )


def _inventory_by_name(facts: Mapping[str, _Facts]) -> Inventory:
    return inventory_of_names({name: fact.shape for name, fact in facts.items()})


def _input_normalization(source: _Source, keys: Mapping[str, str]) -> list[str]:
    """Say by which statistics a network normalizes its own input; they are a few numbers, and read here."""
    if not {"mean", "variance"} <= set(keys):
        return []
    statistics = [keys[name] for name in ("mean", "variance")]
    if max(math.prod(source.facts[key].shape) for key in statistics) > _MAX_STATISTICS:
        return []
    arrays = (np.asarray(array, np.float64).ravel() for array in source.read(statistics))
    said = dict(zip(("mean", "variance"), arrays, strict=True))
    mean, variance = (", ".join(f"{value:.4g}" for value in said[name]) for name in ("mean", "variance"))
    note = f"the network normalizes its own input: mean {mean}, variance {variance}; that is left to preprocessing"
    if np.allclose(said["variance"], _IMAGENET_DEVIATION, rtol=1e-3):
        note += (
            ". These variances are ImageNet's deviations: Keras divides by their roots twice, "
            "here and in a Rescaling layer after it"
        )
    return [note]


def _graph(source: _Source) -> tuple[GraphFacts | None, list[str]]:
    """Read the graph saved with a checkpoint, if there is one; a graph in an unsupported form is only worth a note."""
    try:
        graph = source.graph()
    except tfckpt.UnsupportedFeatureError as error:
        return None, [f"the graph beside the checkpoint tells nothing: {error}"]
    return (None, []) if graph is None else (read_graph(graph.nodes, graph.functions), [])


def _files(checkpoint: tfckpt.Checkpoint) -> tuple[FileRecord, ...]:
    """Record a checkpoint's files, wherever they are; a shard that is not there has no size."""
    records = []
    for position, path in enumerate(checkpoint.files):
        nbytes = checksum = None
        if checkpoint.storage.is_file(path):
            source = checkpoint.storage.open(path)
            try:
                nbytes = source.size
                checksum = hashlib.sha256(source.read(0, nbytes)).hexdigest() if position == 0 else None
            finally:
                source.close()
        records.append(FileRecord(os.path.basename(path), nbytes, checksum))
    return tuple(records)
