"""The known families of names, and the search for a network of one of them in a checkpoint.

A network is found by its stem.
Variables outside the network are ignored and listed by group. One of their dense layers can become the classifier.
"""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from tfckpt.errors import find_close_names, join_some, pluralize, printable, say_close_names
from tfckpt.graphs.object_graph import VALUE_SUFFIX, ObjectGraph

from ..errors import OtherNetworkError, Shape, UnknownModelError
from ..mapping.matching import find_ignore_reason
from ..mapping.planning import Ignored, Source
from ..mapping.rules import RuleSet
from ..model.config import Activation, EfficientNetConfig
from ..structure.reading import Reading
from .automl import AUTOML, number_layers
from .automl_objects import AUTOML_OBJECTS
from .averages import Selection, WeightsChoice, select_weights, strip_average
from .description import describe
from .family import Family
from .garden_legacy import GARDEN_LEGACY
from .garden_vision import GARDEN_VISION, find_garden_networks
from .graph_facts import facts_of
from .kecam import KECAM
from .keras_applications import KERAS, NORMALIZATION
from .keras_config import read_layers
from .recognition import recognize, suggest_model
from .variables import Inventory, SourceVariable

#: The family for paths comes first, because paths are unique and full names may not be.
FAMILIES: tuple[Family, ...] = (AUTOML_OBJECTS, AUTOML, KERAS, GARDEN_LEGACY, KECAM)

#: All families, with the one whose networks are found by the numbers of their layers.
ALL_FAMILIES = (*FAMILIES, GARDEN_VISION)
#: The title of each family by its name.
TITLES = {family.name: family.title for family in ALL_FAMILIES}

#: A path in a Keras file whose layers have no names.
_NUMBERED = re.compile(r"/vars/[0-9]+\Z")
#: Most names shown in the error for a checkpoint without a network.
_SHOWN = 3


#: Reads the network whose variables have the given keys from a graph.
_ReadGraph: TypeAlias = Callable[[Collection[str]], Reading | None]


class DenseLayer(NamedTuple):
    """A dense layer outside the network: its name, its path through the objects, and its input and output widths."""

    name: str
    path: str
    in_features: int
    classes: int


class Preparation(NamedTuple):
    """The facts about a checkpoint that a conversion is planned from, and the evidence for them.

    `others` counts the tensors of each group outside the network.
    `notes` are messages for the user that did not affect the result.
    `reading` is the network as the graph computes it, None if there is no graph or it computes no such network.
    `names` has the family's name for each key, without the suffix of moving averages.
    `configured` names the settings that come from the configuration in a Keras file: activation, epsilon.
    `input_statistics` has the keys of the mean and the variance if the network normalizes its input.
    """

    family: Family
    config: EfficientNetConfig
    evidence: tuple[str, ...]
    notes: tuple[str, ...]
    scope: str
    rules: RuleSet
    selection: Selection
    others: Mapping[str, int]
    shapes: Mapping[str, Shape]
    input_statistics: Mapping[str, str]
    reading: Reading | None
    names: Mapping[str, str]
    configured: tuple[str, ...] = ()

    def suggest_model(self) -> str:
        """Return a message with the most similar published network."""
        return suggest_model(self.shapes, self.family.anatomy)


class _Network(NamedTuple):
    """A network: its family, its scope, and all variables of the checkpoint with the names that the family matches."""

    family: Family
    scope: str
    variables: Sequence[tuple[str, SourceVariable]]

    def count_own(self) -> int:
        """Return the number of variables that belong to the network."""
        return sum(self.family.owns(name, self.scope) for name, _ in self.variables)


def prepare(
    inventory: Inventory,
    *,
    model: str = "auto",
    weights: WeightsChoice = "ema",
    strides: Sequence[int] | None = None,
    activation: Activation | None = None,
    epsilon: float | None = None,
    scope: str | None = None,
    head: str | None = None,
    read_graph: _ReadGraph | None = None,
    keras_config: Any = None,
    objects: ObjectGraph | None = None,
) -> Preparation:
    """Find the network among the variables of a checkpoint, and return its config and rules.

    `read_graph` reads the network whose variables have the given keys from the graph; without a graph it is None.
    `keras_config` is the configuration in a Keras file, and `objects` the object graph of the checkpoint; they are used
    if there is no graph.
    Raises `UnknownModelError` if there is no network or several.
    """
    family, scope, variables = _find_network(inventory, scope)
    own = [(name, variable) for name, variable in variables if family.owns(name, scope)]
    others = [(name, variable) for name, variable in variables if not family.owns(name, scope)]
    shapes = {strip_average(name).removeprefix(scope): variable.shape for name, variable in own}
    _check_kind(family, (strip_average(name) for name, _ in variables))
    layers = _find_dense_layers(others)
    set_aside: list[Ignored] = []
    notes: list[str] = []
    evidence: list[str] = []
    width = (shapes.get(family.anatomy.head) or (0,))[-1]
    if head is not None:
        layer = _choose_layer(layers, head, width)
        evidence.append(f"requested classifier: the dense layer {printable(layer.name)} with {layer.classes} classes")
        replaced = [(name, variable) for name, variable in own if _is_classifier(family, scope, name)]
        set_aside += [Ignored(v.key, f"classifier replaced by {printable(layer.name)}") for _, v in replaced]
        prefix = f"{layer.name}/"
        head_variables = [(name, variable) for name, variable in others if name.startswith(prefix)]
        own = [pair for pair in own if pair not in replaced]
        own += [
            (f"{scope}{family.classifier}/{name.removeprefix(prefix)}", variable) for name, variable in head_variables
        ]
        others = [pair for pair in others if pair not in head_variables]
        shapes = {strip_average(name).removeprefix(scope): variable.shape for name, variable in own}
    names = {strip_average(variable.key): strip_average(name).removeprefix(scope) for name, variable in own}
    names |= {strip_average(v.full_name): strip_average(name).removeprefix(scope) for name, v in own if v.full_name}
    if head is None and not any(_is_classifier(family, scope, name) for name, _ in own):
        is_returned = None if read_graph is None else functools.partial(_reads, read_graph, names)
        notes += _suggest_head(layers, width, is_returned)
    reading = None if read_graph is None else read_graph(names.keys())
    if head is not None and reading is None and len(layers) > 1:
        notes.append(
            f"{_list_layers(layers)} are dense layers outside the network; no graph shows that the result is that of "
            f"{printable(head)}, which --head names"
        )
    configured = read_layers(keras_config)
    if reading is None and family.settings is not None and not family.settings.are_shown(names, objects, configured):
        notes.append(family.settings.assumption)
    facts = None if read_graph is None else facts_of(reading, names)
    if facts is None and configured is not None:
        facts = configured.to_facts(names.values())
    try:
        recognition = recognize(
            shapes,
            family.anatomy,
            model=model,
            strides=strides,
            activation=activation,
            epsilon=epsilon,
            graph=facts,
        )
    except UnknownModelError as error:
        if describe(shapes, family.anatomy).problems:
            error.message += f"\nits stem has the name of {family.name}: {family.title}"
        raise
    config = recognition.config
    ids = describe(shapes, family.anatomy).ids
    rules = family.build_rules(config, scope, ids if len(ids) == sum(1 for _ in config.blocks()) else None)
    ignored, groups = _ignore_others(others, family, scope)
    selection = select_weights([to_source(name, variable) for name, variable in own], weights)
    return Preparation(
        family,
        config,
        (*recognition.evidence, *evidence),
        tuple(notes),
        scope,
        rules,
        Selection(selection.sources, (*inventory.set_aside, *set_aside, *ignored, *selection.set_aside)),
        groups,
        shapes,
        {
            name.rpartition("/")[2]: variable.key
            for name, variable in others
            if find_ignore_reason(family.ignores, name) == NORMALIZATION and len(variable.shape) <= 1
        },
        reading,
        names,
        () if facts is None else facts.list_configured(),
    )


def to_source(name: str, variable: SourceVariable) -> Source:
    """Return a source for the rules; its label adds the name to a key such as `variables/7/...`."""
    label = "" if strip_average(name) in variable.key else f"{variable.key} ({name})"
    return Source(variable.key, variable.shape, name, label)


def _find_network(inventory: Inventory, scope: str | None) -> _Network:
    """Return the only network, or the network under a scope, which may be passed without its final slash."""
    found: dict[str, _Network] = {}
    named: list[_Network] = []
    wanted = scope if scope is None or not scope or scope.endswith("/") else scope + "/"
    numbered = number_layers(variable.name(AUTOML.names) for variable in inventory.variables)
    for family in (*FAMILIES, *numbered, *find_garden_networks(inventory.variables)):
        variables = family.name_variables(inventory.variables)
        by_scope: dict[str, set[str]] = {}
        for name, variable in variables:
            its_scope = family.find_scope(name)
            if its_scope is not None:
                by_scope.setdefault(its_scope, set()).add(variable.key)
        for its_scope, keys in sorted(by_scope.items()):
            network = _Network(family, its_scope, variables)
            if wanted == its_scope:
                named.append(network)
            # Families may give the stem the same name; then the one that has more of the other names is meant.
            others = {id(found[key]): found[key] for key in keys if key in found}
            if all(network.count_own() > other.count_own() for other in others.values()):
                found.update(dict.fromkeys(keys, network))
    if named:
        return max(named, key=_Network.count_own)
    networks = list({id(network): network for network in found.values()}.values())
    shown = ", ".join(repr(printable(network.scope)) for network in networks)
    if wanted is not None:
        where = f"only under {shown}" if networks else "and none elsewhere"
        raise UnknownModelError(f"no EfficientNet under the scope {printable(wanted)!r}, {where}")
    if len(networks) == 1:
        return networks[0]
    if networks:
        raise UnknownModelError(
            f"the checkpoint contains several networks, under {shown}; choose one with --scope",
            choices=[network.scope for network in networks],
        )
    raise UnknownModelError(_describe_failure(inventory))


def _check_kind(family: Family, names: Iterable[str]) -> None:
    """Raise `UnknownModelError` for a network of the same code that is not an EfficientNet as we have it."""
    for name in names:
        for pattern, what in family.others:
            if pattern.fullmatch(name):
                raise UnknownModelError(
                    f"the network is {what} ({printable(name)}), and cannot be converted; its graph runs in PyTorch "
                    "with these weights: converter.graph_module(converter.load_graph(PATH)), where PATH is a SavedModel"
                    ' or, with outputs=["logits"], a checkpoint with a .meta file'
                )


def _describe_failure(inventory: Inventory) -> str:
    """Return a message that no network was found, with the most similar family and its first differences."""
    variables = dict.fromkeys(strip_average(variable.name("full_name")) for variable in inventory.variables)
    count = pluralize(len(variables), "variable")
    text = f"no EfficientNet in this checkpoint: none of its {count} is a stem ({_list_stems()})"
    if variables:
        text += f"; they include {join_some(variables, most=_SHOWN)}"
    if inventory.object_based and not variables:
        text += "; the object graph has no variables"
    nearest = max(FAMILIES, key=lambda family: len(_find_similar_names(family, inventory)))
    similar = _find_similar_names(nearest, inventory)
    if all(_NUMBERED.search(name) for name in variables):
        return (
            f"{text}. The file numbers layers and variables and does not name them, and has no configuration; save the "
            "whole model as .keras or .h5, or convert by rules (--rules)"
        )
    if not similar:
        return f"{text}. No family of names is similar; your own rules (--rules) can convert any network"
    names = [strip_average(name) for name, _ in nearest.name_variables(inventory.variables)]
    others = [
        printable(name)
        for name in dict.fromkeys(names)
        if name not in similar and find_ignore_reason(nearest.ignores, name) is None
    ][:_SHOWN]
    text += f".\nThe most similar family is {nearest.name} ({nearest.title}), which has {len(similar)} of the names"
    if others:
        text += f", but not {', '.join(others)}"
    stem = find_close_names(nearest.anatomy.stem, names)
    return text + (f"\n{nearest.anatomy.stem} is missing{say_close_names(stem)}" if stem else "")


def _find_similar_names(family: Family, inventory: Inventory) -> set[str]:
    """Return the names that match a rule of a family under any scope and for any block."""
    patterns = "|".join(re.sub(r"\\\{[^{}]*\\\}", "[^/]+", re.escape(str(rule))) for rule in family.rules)
    pattern = re.compile(rf"(?:.*/)?(?:{patterns})", re.DOTALL)
    names = (strip_average(name) for name, _ in family.name_variables(inventory.variables))
    return {name for name in names if pattern.fullmatch(name)}


def _list_stems() -> str:
    return " or ".join(dict.fromkeys(family.anatomy.stem for family in (AUTOML, AUTOML_OBJECTS, KERAS, GARDEN_LEGACY)))


def _ignore_others(
    others: Iterable[tuple[str, SourceVariable]], family: Family, scope: str
) -> tuple[list[Ignored], dict[str, int]]:
    """Return the variables outside the network with reasons to ignore them, and the size of each group."""
    ignored = []
    groups: collections.Counter[str] = collections.Counter()
    for name, variable in others:
        reason = find_ignore_reason(family.ignores, name)
        if reason is None:
            group = _find_group(name, variable, scope)
            groups[group] += 1
            reason = f"outside the network, in {printable(group)}"
        ignored.append(Ignored(variable.key, reason))
    return ignored, dict(groups)


def _find_group(name: str, variable: SourceVariable, scope: str) -> str:
    """Return the group of a variable: its name up to the first part that differs from the scope.

    A name without slash, such as `Variable`, is not informative, so the path is used instead.
    So is the path of a variable of the root: an optimizer's counter that the program saves as `step` is `SGD/iter`.
    """
    parts, shared = (name if "/" in name and "/" in variable.path else variable.path).split("/"), scope.split("/")[:-1]
    same = 0
    while same < min(len(parts) - 2, len(shared)) and parts[same] == shared[same]:
        same += 1
    return "/".join(parts[: same + 1])


def _find_dense_layers(others: Iterable[tuple[str, SourceVariable]]) -> list[DenseLayer]:
    """Return the dense layers outside the network: a kernel with two axes, and a bias of matching size."""
    by_name = {strip_average(name): variable for name, variable in others}
    layers = []
    for name, variable in by_name.items():
        layer, _, last = name.rpartition("/")
        bias = by_name.get(f"{layer}/bias")
        if last == "kernel" and len(variable.shape) == 2 and bias is not None and bias.shape == variable.shape[1:]:
            layers.append(DenseLayer(layer, strip_average(variable.path).rpartition("/")[0], *variable.shape))
    return layers


def _reads(read_graph: _ReadGraph, names: Mapping[str, str], layer: DenseLayer) -> bool:
    """Return whether the graph returns the result of a dense layer as that of the network."""
    kernels = {f"{layer.name}/kernel", f"{layer.path}/kernel", f"{layer.path}/kernel{VALUE_SUFFIX}"}
    try:
        reading = read_graph({*names, *kernels})
    except OtherNetworkError:
        return False
    kernel = None if reading is None or reading.dense is None else reading.dense.kernel
    return kernel is not None and reading is not None and bool(kernels & reading.keys.get(kernel, {kernel}))


def _suggest_head(
    layers: Sequence[DenseLayer], width: int, is_returned: Callable[[DenseLayer], bool] | None
) -> list[str]:
    """Return notes on the dense layers outside a network of this width that could be its classifier.

    `is_returned` says whether the graph returns the result of a layer, and is None without a graph.
    """
    suited = [layer for layer in layers if width and layer.in_features == width]
    if is_returned is not None:
        suited = [layer for layer in suited if is_returned(layer)]
    if len(layers) == 1 or (is_returned is not None and len(suited) == 1):
        return [
            f"the dense layer {printable(layer.name)} with {layer.classes} classes matches the network's width; "
            f"--head {printable(layer.name)} makes it the classifier"
            for layer in suited
        ]
    if not suited:
        return []
    return [
        f"there are several dense layers outside the network: {_list_layers(layers)}. They are left out. If one of "
        "them alone gives the result, --head NAME makes it the classifier; if they follow each other, add them in "
        "PyTorch to the converted network, which returns features"
    ]


def _list_layers(layers: Sequence[DenseLayer]) -> str:
    return ", ".join(f"{printable(layer.name)} ({layer.in_features} to {layer.classes})" for layer in layers)


def _choose_layer(layers: Sequence[DenseLayer], head: str, width: int) -> DenseLayer:
    """Return the requested dense layer; raise `UnknownModelError` if it is missing or has the wrong width."""
    available = _list_layers(layers)
    for layer in layers:
        if head.rstrip("/") in (layer.name, layer.path):
            if width != layer.in_features:
                output = f"returns {width}" if width else "has no head"
                raise UnknownModelError(
                    f"the dense layer {printable(head)} needs {layer.in_features} features, but the network {output}; "
                    f"available: {available}"
                )
            return layer
    raise UnknownModelError(f"no dense layer {printable(head)!r} outside the network; available: {available or 'none'}")


def _is_classifier(family: Family, scope: str, name: str) -> bool:
    """Return whether a variable belongs to the classifier of the network."""
    layers = {bias.rpartition("/")[0] for bias in family.anatomy.classifier_biases}
    return name.startswith(tuple(f"{scope}{layer}/" for layer in layers))
