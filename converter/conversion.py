"""The conversion of a TensorFlow checkpoint to a PyTorch state dict of NumPy arrays, with a report, without torch.

Names and shapes decide the plan. Tensors are read only after the plan is complete; if it is not, the error lists every
reason.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import html
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

import tfckpt
from tfckpt.errors import pluralize, printable

from ._typing import Array, PathLike, Progress, SourceLike
from .errors import ConversionError, MappingError, Shape, UnknownModelError
from .families import search
from .families.averages import WEIGHTS_CHOICES, Selection, WeightsChoice, select_weights, strip_average
from .families.graph_account import check_account, reader_of
from .mapping.constants import fill
from .mapping.modules import Into, find_shared, read_targets
from .mapping.moves import Move, group_by_source, join_target
from .mapping.planning import Draft, Ignored, Plan, derive_targets, draft, plan
from .mapping.recurrent import check_cells
from .mapping.report import ConstantRecord, ConversionReport, IgnoredRecord, SettingRecord, TensorRecord, TiedRecord
from .mapping.rules import RuleSet
from .model.config import Activation, EfficientNetConfig
from .model.names import native_targets
from .networks.ready import ReadyNetwork, find_ready
from .releases.which import identify_releases
from .sources import Source, describe_input_normalization, describe_source, open_tensors, read_graph


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConversionOptions:
    """What a caller says about a conversion; `convert` describes each."""

    model: str = "auto"
    weights: WeightsChoice = "ema"
    strides: Sequence[int] | None = None
    activation: Activation | None = None
    epsilon: float | None = None
    scope: str | None = None
    head: str | None = None
    release: str | None = None
    rules: RuleSet | PathLike | None = None
    into: Into | None = None
    graph: PathLike | None = None
    part: str | None = None

    @property
    def describes_no_efficientnet(self) -> bool:
        """Whether no option is about EfficientNets only."""
        options = (self.strides, self.activation, self.epsilon, self.head, self.release)
        return self.model == "auto" and all(option is None for option in options)

    def check(self) -> None:
        """Raise `ValueError` for an unknown choice of weights, and for options that cannot be combined."""
        if self.weights not in WEIGHTS_CHOICES:
            raise ValueError(f"weights is {self.weights!r}, expected one of {', '.join(WEIGHTS_CHOICES)}")
        network = (self.strides, self.activation, self.epsilon, self.scope, self.head, self.release, self.part)
        if self.rules is not None and (self.model != "auto" or any(option is not None for option in network)):
            options = "model, strides, activation, epsilon, scope, head, release and part"
            raise ValueError(f"{options} describe a known network and cannot be combined with rules")
        if self.rules is None and self.into is not None:
            raise ValueError("into is the target of rules, but no rules are given")


#: Everything is found in the checkpoint.
_DEFAULTS = ConversionOptions()


@dataclasses.dataclass(frozen=True, slots=True)
class ConversionPlan:
    """The network, the conversion of each tensor, and the report; no tensor has been read yet.

    `config` is None if rules of the user's own describe the network.
    `targets` has the names and shapes of the result, in order.
    `read` yields the source's tensors in the order of the given names, while the source is open.
    `shared` has the names of each tensor that the module of the target has under several.
    `network` describes a network that has ready rules and is not an EfficientNet.
    """

    config: EfficientNetConfig | None
    plan: Plan
    report: ConversionReport
    rules: RuleSet
    targets: Mapping[str, Shape]
    read: Callable[[Sequence[str]], Iterator[Array]] = dataclasses.field(compare=False, repr=False)
    shared: Sequence[Sequence[str]] = ()
    network: ReadyNetwork | None = None


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class ConversionResult:
    """A converted network.

    `state_dict` has the keys of our PyTorch module, in its order, and `config` describes that module.
    If rules of the user's own were used, the keys are those of the user's module, and `config` is None.
    The arrays of `convert` are in C order. Those that the checkpoint stores in the same order are views of its memory
    map where possible. They are read-only unless the checkpoint was opened with `writable=True`, and stay valid after
    it is closed.
    `source` is what was converted, and `graph` the path of its graph if one was given, for the proof before the result
    is written. `network` describes a network that has ready rules and is not an EfficientNet, and `into` is the target
    of the user's own rules.
    """

    state_dict: dict[str, Array]
    config: EfficientNetConfig | None
    report: ConversionReport
    rules: RuleSet
    source: SourceLike | None = dataclasses.field(default=None, compare=False, repr=False)
    graph: PathLike | None = dataclasses.field(default=None, compare=False, repr=False)
    network: ReadyNetwork | None = dataclasses.field(default=None, compare=False, repr=False)
    into: Into | None = dataclasses.field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        """Return network, size and source in one line."""
        size = f"{pluralize(len(self.state_dict), 'tensor')}, {self.report.nbytes:,} bytes"
        return f"<ConversionResult {printable(self.report.network)}, {size}, from {printable(self.report.source)}>"

    def _repr_html_(self) -> str:
        """Return the summary of the report, for notebooks."""
        return f"<pre>{html.escape(self.report.summary())}</pre>"

    def required_config(self) -> EfficientNetConfig:
        """Return the config; raise `ConversionError` if there is none."""
        if self.config is None:
            raise ConversionError(f"the network converted by the rules {self.rules.name} is not an EfficientNet")
        return self.config


def convert(
    source: SourceLike,
    *,
    model: str = "auto",
    weights: WeightsChoice = "ema",
    strides: Sequence[int] | None = None,
    activation: Activation | None = None,
    epsilon: float | None = None,
    scope: str | None = None,
    head: str | None = None,
    release: str | None = None,
    rules: RuleSet | PathLike | None = None,
    into: Into | None = None,
    graph: PathLike | None = None,
    part: str | None = None,
    progress: Progress | None = None,
) -> ConversionResult:
    """Convert a checkpoint of an EfficientNet, or of another family that `tf2torch families` lists, or by rules.

    `model` is the name of a published network, or `auto`, to recognise it from names and shapes with any class count.
    `weights` is `ema` for the moving average of every variable that has one, or `raw` for the plain values.
    `strides`, one for each stage, are needed if the network is not published and no graph is saved with it.
    `activation`, one of `converter.model.config.ACTIVATIONS`, and `epsilon`, that of the batch norms, are assumed to be
    those of the published networks if no graph is saved with it, unless they are given. A graph has to agree with them.
    `scope` is needed if the checkpoint holds several networks; an empty scope is the root.
    `head` is the name of a dense layer next to the network that becomes its classifier.
    `release` names the release if names and shapes allow several; it determines the preprocessing.
    `part` chooses one of several models in a checkpoint of another family, such as ELECTRA's `generator`.
    `graph` is a `.meta` file or SavedModel with the graph of the checkpoint, if it is not saved under the same name.
    `rules`, a rule set or the path of one as TOML, convert any other network. `into` is the target, a module or a
    mapping of names to shapes; without it every result of the rules is accepted. The options that describe a known
    network cannot be combined with rules.
    Every tensor is compared with its checksum while it is read, and then brought into C order if it is not: the memory
    needed is the size of the result. `tf2torch convert` writes files without that.

    Raises `UnknownModelError`, a `MappingError` with all findings, or any error of `tfckpt` about the checkpoint.
    """
    options = ConversionOptions(
        model=model,
        weights=weights,
        strides=strides,
        activation=activation,
        epsilon=epsilon,
        scope=scope,
        head=head,
        release=release,
        rules=rules,
        into=into,
        graph=graph,
        part=part,
    )
    result = convert_to_views(source, options, progress=progress)
    for name, array in result.state_dict.items():
        if not array.flags.c_contiguous:
            ordered = array.copy(order="C")
            ordered.flags.writeable = array.flags.writeable
            result.state_dict[name] = ordered  # one at a time, so that no more than one is in memory twice
    return result


def convert_to_views(
    source: SourceLike, options: ConversionOptions = _DEFAULTS, *, progress: Progress | None = None
) -> ConversionResult:
    """Convert like `convert`, but leave the arrays with the strides that the layouts gave them: nothing is copied."""
    with open_tensors(source) as tensors:
        planned = plan_conversion(tensors, options)
        state_dict: dict[str, Array] = {}
        total = planned.report.nbytes
        done = 0
        parts: dict[str, list[tuple[Move, Array]]] = collections.defaultdict(list)
        moves = group_by_source(planned.plan.moves)
        for (_, group), stored in zip(moves.items(), planned.read(list(moves)), strict=True):
            for move in group:
                parts[move.target].append((move, move.apply(stored)))
            done += stored.nbytes
            if progress is not None:
                progress(done, total)
    for target in list(parts):
        state_dict[target] = join_target(parts.pop(target))
    for constant in planned.plan.constants:
        state_dict[constant.target] = fill(planned.targets[constant.target], constant.value, constant.dtype)
    for tie in planned.plan.tied:
        state_dict[tie.target] = state_dict[tie.to]
    check_shared(planned.shared, state_dict)
    ordered = {target: state_dict[target] for target in planned.targets}
    return ConversionResult(
        ordered, planned.config, planned.report, planned.rules, source, options.graph, planned.network, options.into
    )


def plan_conversion(tensors: Mapping[str, Array], options: ConversionOptions = _DEFAULTS) -> ConversionPlan:
    """Plan a conversion from names, shapes and the graph; options and errors are those of `convert`."""
    options.check()
    source = describe_source(tensors)
    if options.rules is not None:
        return _plan_by_rules(source, _load_rules(options.rules), options.into, options.weights)
    ready = None
    if options.describes_no_efficientnet:
        shapes = {strip_average(variable.name("key")): variable.shape for variable in source.inventory.variables}
        ready = find_ready(shapes, source.read_file, path=source.path, scope=options.scope, part=options.part)
    if ready is not None:
        return _plan_ready(source, ready, options.weights)
    if options.part is not None:
        raise UnknownModelError("part chooses one of several models of a ready family, and SRC contains no such family")
    graph_path = source.path if options.graph is None else os.fspath(options.graph)
    meta_graph, graph_notes = read_graph(source, options.graph)
    prepared = search.prepare(
        source.inventory,
        model=options.model,
        weights=options.weights,
        strides=options.strides,
        activation=options.activation,
        epsilon=options.epsilon,
        scope=options.scope,
        head=options.head,
        read_graph=None if meta_graph is None else reader_of(meta_graph, graph_path),
        keras_config=source.keras_config() if meta_graph is None else None,
        objects=source.objects,
    )
    targets = native_targets(prepared.config)
    try:
        planned = plan(prepared.selection.sources, prepared.rules, targets, set_aside=prepared.selection.set_aside)
    except MappingError as error:
        if options.model == "auto":
            raise
        raise error.with_hint(f"{options.model} was requested; {prepared.suggest_model()}") from None
    releases = identify_releases(prepared.config, prepared.family.name, source.path, requested=options.release)
    reading = prepared.reading
    if reading is not None:
        check_account(prepared, planned, graph=graph_path)
        graph_notes += reading.notes
    notes = [*prepared.notes, *graph_notes, *describe_input_normalization(source, prepared.input_statistics)]
    if not releases.is_decided:
        notes.append(releases.sentence)
    report = dataclasses.replace(
        _build_report(source, planned, rules=prepared.rules, selection=prepared.selection, weights=options.weights),
        config=prepared.config.to_dict(),
        parameters=prepared.config.parameter_count(),
        evidence=(*prepared.evidence, *([releases.sentence] if releases.is_decided and releases.sentence else [])),
        releases=releases.names,
        head=options.head,
        operations=None if reading is None else reading.operations,
        inputs=() if reading is None else reading.inputs,
        outputs=() if reading is None else reading.outputs,
        configured=prepared.configured,
        specified={
            name: value
            for name, value in (("activation", options.activation), ("epsilon", options.epsilon))
            if value is not None
        },
        padding=prepared.family.padding,
        notes=tuple(notes),
    )
    return ConversionPlan(prepared.config, planned, report, prepared.rules, targets, source.read)


def _plan_ready(source: Source, ready: ReadyNetwork, weights: WeightsChoice) -> ConversionPlan:
    """Plan the conversion of a network with ready rules; every finding is in one error."""
    recognized = ready.recognized
    drafted = _draft_by_rules(source, recognized.rules, recognized.targets, weights, scope=recognized.scope)
    try:
        planned = drafted.draft.to_plan()
        if recognized.settings.contradictions:
            raise MappingError(contradicted=recognized.settings.contradictions)
    except MappingError as error:
        raise MappingError(
            unmapped=error.unmapped,
            missing=error.missing,
            mismatched=error.mismatched,
            ambiguous=error.ambiguous,
            contradicted=recognized.settings.contradictions,
            hint=f"recognized as {ready.title}; your own rules (--rules) can convert any network",
        ) from None
    report = _build_report(source, planned, rules=recognized.rules, selection=drafted.selection, weights=weights)
    report = dataclasses.replace(
        report,
        title=ready.title,
        part=recognized.part.name,
        evidence=(f"names of {recognized.network.code}",),
        settings=tuple(SettingRecord(*setting) for setting in recognized.settings.to_tuple()),
        notes=ready.notes,
    )
    return ConversionPlan(None, planned, report, recognized.rules, drafted.targets, source.read, network=ready)


def plan_with_strides_of(
    tensors: Mapping[str, Array], describe: Callable[[], EfficientNetConfig | None], options: ConversionOptions
) -> ConversionPlan:
    """Plan a conversion, with the strides of the network that `describe` returns if the source does not show its own.

    `describe` is called only then.
    If it returns None or raises `UnknownModelError`, or its strides do not help, the first error is raised.
    """
    try:
        return plan_conversion(tensors, options)
    except UnknownModelError:
        if options.strides is None:
            with contextlib.suppress(UnknownModelError):
                config = describe()
                if config is not None:
                    strides = tuple(stage.stride for stage in config.stages)
                    return plan_conversion(tensors, dataclasses.replace(options, strides=strides))
        raise


def _plan_by_rules(source: Source, rules: RuleSet, into: Into | None, weights: WeightsChoice) -> ConversionPlan:
    drafted = _draft_by_rules(source, rules, into, weights)
    idle = [printable(str(rule)) for rule in drafted.draft.idle]
    try:
        planned = drafted.draft.to_plan()
    except MappingError as error:
        raise (error.with_hint(f"rules that match no tensor: {', '.join(idle)}") if idle else error) from None
    if not planned.moves:
        raise ConversionError(f"nothing to convert: the rules of {printable(rules.name)} match no tensor")
    variables = {tensor.name: tensor.variable for tensor in drafted.selection.sources}
    shapes = {strip_average(variable.name(rules.names)): variable.shape for variable in source.inventory.variables}
    check_cells([(variables[move.source], move.target) for move in planned.moves], shapes)
    report = _build_report(source, planned, rules=rules, selection=drafted.selection, weights=weights)
    notes = tuple(f"the rule {rule} matches no tensor" for rule in idle)
    report = dataclasses.replace(report, notes=notes)
    return ConversionPlan(None, planned, report, rules, drafted.targets, source.read, drafted.shared)


def check_shared(shared: Sequence[Sequence[str]], state_dict: Mapping[str, Array]) -> None:
    """Raise `ConversionError` for names that are one tensor of the module, and whose values differ.

    Loading the state dict would overwrite the first value with the second, without a word.
    """
    problems = []
    for first, *others in shared:
        for name in others:
            if state_dict[name] is not state_dict[first] and not _is_same(state_dict[name], state_dict[first]):
                problems.append(f"{printable(first)} and {printable(name)}")
    if problems:
        names = "\n  ".join(problems)
        raise ConversionError(
            f"the module has one tensor for each of these pairs, but the values for it differ:\n  {names}\n"
            "build the module without the tie"
        )


def _is_same(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@dataclasses.dataclass(frozen=True, slots=True)
class RulesDraft:
    """The result of applying rules to a checkpoint's names and shapes, complete or not."""

    draft: Draft
    selection: Selection
    targets: Mapping[str, Shape]
    shared: Sequence[Sequence[str]] = ()


def draft_by_rules(
    tensors: Mapping[str, Array],
    rules: RuleSet | PathLike,
    into: Into | None = None,
    *,
    weights: WeightsChoice = "ema",
) -> RulesDraft:
    """Apply rules to a checkpoint's names and shapes; the result may be incomplete, and no tensor is read."""
    return _draft_by_rules(describe_source(tensors), _load_rules(rules), into, weights)


def _draft_by_rules(
    source: Source, rules: RuleSet, into: Into | None, weights: WeightsChoice, *, scope: str = ""
) -> RulesDraft:
    """Apply rules to the variables whose names begin with `scope`."""
    inventory = source.inventory
    names = [(variable.name(rules.names), variable) for variable in inventory.variables]
    named = [search.to_source(name, variable) for name, variable in names if name.startswith(scope)]
    outside = [Ignored(variable.key, "outside the network") for name, variable in names if not name.startswith(scope)]
    selection = select_weights(named, weights)
    targets = derive_targets(selection.sources, rules) if into is None else read_targets(into)
    set_aside = (*inventory.set_aside, *selection.set_aside, *outside)
    shared = () if into is None else find_shared(into)
    drafted = draft(selection.sources, rules, targets, set_aside=set_aside, shared=shared)
    return RulesDraft(drafted, selection, targets, shared)


def _load_rules(rules: RuleSet | PathLike) -> RuleSet:
    if isinstance(rules, RuleSet):
        return rules
    from .mapping.rules_file import read_rules

    return read_rules(rules)


def _build_report(
    source: Source,
    planned: Plan,
    *,
    rules: RuleSet,
    selection: Selection,
    weights: WeightsChoice,
) -> ConversionReport:
    """Return the report of a plan, without what only an EfficientNet has."""
    strings = [printable(move.source) for move in planned.moves if not source.facts[move.source].is_numeric]
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
            move.source in averages,
            move.source_part,
            move.target_part,
        )
        for move in planned.moves
    )
    return ConversionReport(
        source=source.name,
        files=source.files(),
        config=None,
        parameters=sum(
            math.prod(shape) for shape in {record.target: record.target_shape for record in records}.values()
        ),
        evidence=(),
        weights=weights,
        averaged=len({record.source for record in records if record.averaged}),
        scope=", ".join(rules.scopes),
        rules=rules.name,
        rules_version=rules.version,
        tensors=records,
        ignored=tuple(IgnoredRecord(*ignored) for ignored in planned.ignored),
        constants=tuple(ConstantRecord(*constant) for constant in planned.constants),
        tied=tuple(TiedRecord(*tie) for tie in planned.tied),
        nbytes=sum(source.facts[name].nbytes for name in group_by_source(planned.moves)),
        versions={"tfckpt": tfckpt.__version__, "numpy": np.__version__},
    )
