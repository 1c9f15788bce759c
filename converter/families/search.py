"""The families of names we know, and which network of which family a checkpoint holds.

A network is found by its stem.
Variables of a checkpoint that are not the network's stand beside it: they are left out, and listed by group.
A dense layer among them can be made the classifier.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tfckpt.errors import find_close_names, join_some, pluralize, printable, say_close_names

from ..errors import Shape, UnknownModelError
from ..mapping.rules import Ignored, RuleSet, Source, find_ignore_reason
from ..model.config import EfficientNetConfig
from .automl import AUTOML
from .automl_objects import AUTOML_OBJECTS
from .averages import Selection, WeightsChoice, select_weights, variable_of
from .description import describe
from .family import Family
from .graph_facts import GraphFacts
from .keras_applications import KERAS, NORMALIZATION
from .recognition import best_fit, recognise
from .variables import Inventory, SourceVariable

#: Paths come first: they are unique, and full names need not be.
FAMILIES: tuple[Family, ...] = (AUTOML_OBJECTS, AUTOML, KERAS)

#: Names shown of a checkpoint that holds no network, and differences from the nearest family.
_SHOWN = 3


class DenseLayer(NamedTuple):
    """A dense layer beside a network: what it is called, its path through the objects, and its width on either side."""

    name: str
    path: str
    in_features: int
    classes: int


class Prepared(NamedTuple):
    """All that planning a conversion needs to know of a checkpoint, and the sentences that say how it is known.

    `beside` counts the tensors of each group that stands beside the network.
    `notes` are sentences that a person should know and that decided nothing.
    `input_statistics` has the keys of the mean and variance that the network normalizes its input by, if it does.
    """

    family: Family
    config: EfficientNetConfig
    evidence: tuple[str, ...]
    notes: tuple[str, ...]
    scope: str
    rules: RuleSet
    selection: Selection
    beside: Mapping[str, int]
    shapes: Mapping[str, Shape]
    input_statistics: Mapping[str, str]

    def best_fit(self) -> str:
        """Say which published network its names and shapes are those of, or near to."""
        return best_fit(self.shapes, self.family.anatomy)


class _Found(NamedTuple):
    """A network: its family, its scope, and every variable by the name the family reads."""

    family: Family
    scope: str
    named: Sequence[tuple[str, SourceVariable]]


def prepare(
    inventory: Inventory,
    *,
    model: str = "auto",
    weights: WeightsChoice = "ema",
    strides: Sequence[int] | None = None,
    scope: str | None = None,
    head: str | None = None,
    graph: GraphFacts | None = None,
) -> Prepared:
    """Find the network among a checkpoint's variables, and write the rules for it.

    Raises `UnknownModelError` when there is none, or several.
    """
    family, scope, named = _find(inventory, scope)
    own = [(name, variable) for name, variable in named if family.owns(name, scope)]
    beside = [(name, variable) for name, variable in named if not family.owns(name, scope)]
    shapes = {variable_of(name).removeprefix(scope): variable.shape for name, variable in own}
    layers = _dense_layers(beside)
    set_aside: list[Ignored] = []
    notes: list[str] = []
    evidence: list[str] = []
    width = (shapes.get(family.anatomy.head) or (0,))[-1]
    if head is not None:
        layer = _chosen(layers, head, width)
        evidence.append(f"classifier: the dense layer {printable(layer.name)} of {layer.classes} classes, asked for")
        replaced = [(name, variable) for name, variable in own if _of_classifier(family, scope, name)]
        set_aside += [
            Ignored(v.key, f"classifier in whose place {printable(layer.name)} is taken") for _, v in replaced
        ]
        taken = [(name, variable) for name, variable in beside if _under(name, layer.name)]
        renamed = [(f"{scope}{family.classifier}/{_under(name, layer.name)}", variable) for name, variable in taken]
        own = [pair for pair in own if pair not in replaced] + renamed
        beside = [pair for pair in beside if pair not in taken]
        shapes = {variable_of(name).removeprefix(scope): variable.shape for name, variable in own}
    elif not any(_of_classifier(family, scope, name) for name, _ in own):
        fitting = [layer for layer in layers if width and layer.in_features == width]
        notes += [
            f"beside the network stands the dense layer {printable(layer.name)} of {layer.classes} classes, "
            f"which fits it; --head {printable(layer.name)} makes it the classifier"
            for layer in fitting
        ]
    names = {variable_of(variable.key): variable_of(name).removeprefix(scope) for name, variable in own}
    names |= {variable_of(v.full_name): variable_of(name).removeprefix(scope) for name, v in own if v.full_name}
    recognition = recognise(
        shapes,
        family.anatomy,
        model=model,
        strides=strides,
        graph=None if graph is None else graph.renamed(names),
    )
    config = recognition.config
    ids = describe(shapes, family.anatomy).ids
    rules = family.rule_set(config, scope, ids if len(ids) == sum(1 for _ in config.blocks()) else None)
    left, groups = _set_beside_aside(beside, family, scope)
    selection = select_weights([source_of(name, variable) for name, variable in own], weights)
    return Prepared(
        family,
        config,
        (*recognition.evidence, *evidence),
        tuple(notes),
        scope,
        rules,
        Selection(selection.sources, (*inventory.set_aside, *set_aside, *left, *selection.set_aside)),
        groups,
        shapes,
        {
            name.rpartition("/")[2]: variable.key
            for name, variable in beside
            if find_ignore_reason(family.ignores, name) == NORMALIZATION and len(variable.shape) <= 1
        },
    )


def source_of(name: str, variable: SourceVariable) -> Source:
    """Give a variable to the rules; its key alone, such as `variables/7/...`, may say little."""
    label = "" if variable_of(name) in variable.key else f"{variable.key} ({name})"
    return Source(variable.key, variable.shape, name, label)


def _find(inventory: Inventory, scope: str | None) -> _Found:
    """Find the one network, or the one under a scope; the scope is taken with or without its last slash."""
    found: list[_Found] = []
    stems: set[str] = set()
    wanted = scope if scope is None or not scope or scope.endswith("/") else scope + "/"
    for family in FAMILIES:
        named = family.named(inventory.variables)
        by_scope: dict[str, set[str]] = {}
        for name, variable in named:
            its_scope = family.scope_of(name)
            if its_scope is not None:
                by_scope.setdefault(its_scope, set()).add(variable.key)
        for its_scope, keys in sorted(by_scope.items()):
            if wanted == its_scope:
                return _Found(family, its_scope, named)
            if not keys & stems:  # else another family has found it
                found.append(_Found(family, its_scope, named))
            stems |= keys
    shown = ", ".join(repr(printable(network.scope)) for network in found)
    if wanted is not None:
        where = f"there is one under {shown}" if found else "nor under any other"
        raise UnknownModelError(f"no EfficientNet under the scope {printable(wanted)!r}; {where}")
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownModelError(f"several networks in one checkpoint, under {shown}; choose one by its scope (--scope)")
    raise UnknownModelError(_no_network(inventory))


def _no_network(inventory: Inventory) -> str:
    """Say that there is none, which family is nearest, and where the names first differ from its own."""
    variables = dict.fromkeys(variable_of(variable.name("full_name")) for variable in inventory.variables)
    count = pluralize(len(variables), "variable")
    text = f"no EfficientNet in this checkpoint: none of its {count} is a stem ({_stems()})"
    if variables:
        text += f"; it has {join_some(variables, most=_SHOWN)}"
    if inventory.object_based and not variables:
        text += "; an object graph without variables says nothing of a network"
    nearest = max(FAMILIES, key=lambda family: len(_alike(family, inventory)))
    alike = _alike(nearest, inventory)
    if not alike:
        return f"{text}. No family of names is near; rules of your own (--rules) convert any network"
    names = [variable_of(name) for name, _ in nearest.named(inventory.variables)]
    others = [
        printable(name)
        for name in dict.fromkeys(names)
        if name not in alike and find_ignore_reason(nearest.ignores, name) is None
    ][:_SHOWN]
    text += f".\nThe nearest family is {nearest.name} ({nearest.title}), with {len(alike)} of the names"
    if others:
        text += f"; not its names are {', '.join(others)}"
    stem = find_close_names(nearest.anatomy.stem, names)
    return text + (f"\n{nearest.anatomy.stem} is missing{say_close_names(stem)}" if stem else "")


def _alike(family: Family, inventory: Inventory) -> set[str]:
    """Give the names that a family's rules would take under any scope and for any block."""
    patterns = "|".join(re.sub(r"\\\{[^{}]*\\\}", "[^/]+", re.escape(rule.source)) for rule in family.rules)
    pattern = re.compile(rf"(?:.*/)?(?:{patterns})", re.DOTALL)
    names = (variable_of(name) for name, _ in family.named(inventory.variables))
    return {name for name in names if pattern.fullmatch(name)}


def _stems() -> str:
    return " or ".join(dict.fromkeys(family.anatomy.stem for family in (AUTOML, AUTOML_OBJECTS, KERAS)))


def _set_beside_aside(
    beside: Iterable[tuple[str, SourceVariable]], family: Family, scope: str
) -> tuple[list[Ignored], dict[str, int]]:
    """Leave out what is not the network's: for the table's own reason, or as part of a group beside it."""
    ignored = []
    groups: collections.Counter[str] = collections.Counter()
    for name, variable in beside:
        reason = find_ignore_reason(family.ignores, name)
        if reason is None:
            group = _group(name, variable, scope)
            groups[group] += 1
            reason = f"beside the network, in {printable(group)}"
        ignored.append(Ignored(variable.key, reason))
    return ignored, dict(groups)


def _group(name: str, variable: SourceVariable, scope: str) -> str:
    """Name the group of a variable: its name, as far as the first part that is not the scope's too.

    A name without slash says little (`Variable`), so that the path stands in for it.
    """
    parts, shared = (name if "/" in name else variable.path).split("/"), scope.split("/")[:-1]
    same = 0
    while same < min(len(parts) - 2, len(shared)) and parts[same] == shared[same]:
        same += 1
    return "/".join(parts[: same + 1])


def _dense_layers(beside: Iterable[tuple[str, SourceVariable]]) -> list[DenseLayer]:
    """Find the dense layers among what stands beside: a kernel of two axes, and a bias of its second."""
    by_name = {variable_of(name): variable for name, variable in beside}
    layers = []
    for name, variable in by_name.items():
        layer, _, last = name.rpartition("/")
        bias = by_name.get(f"{layer}/bias")
        if last == "kernel" and len(variable.shape) == 2 and bias is not None and bias.shape == variable.shape[1:]:
            layers.append(DenseLayer(layer, variable.path.rpartition("/")[0], *variable.shape))
    return layers


def _chosen(layers: Sequence[DenseLayer], head: str, width: int) -> DenseLayer:
    """Find the dense layer that was asked for; `UnknownModelError` when there is none, or its width is another."""
    there = ", ".join(f"{printable(layer.name)} ({layer.in_features} to {layer.classes})" for layer in layers)
    for layer in layers:
        if head.rstrip("/") in (layer.name, layer.path):
            if width != layer.in_features:
                gives = f"gives {width}" if width else "has no head"
                raise UnknownModelError(
                    f"the dense layer {printable(head)} takes {layer.in_features} features, but the network {gives}; "
                    f"dense layers beside it are {there}"
                )
            return layer
    raise UnknownModelError(
        f"no dense layer {printable(head)!r} beside the network; "
        + (f"there are {there}" if there else "there is none")
    )


def _under(name: str, layer: str) -> str:
    """Give what is left of a name under a layer, and nothing when it is not the layer's."""
    return name.removeprefix(layer + "/") if name.startswith(layer + "/") else ""


def _of_classifier(family: Family, scope: str, name: str) -> bool:
    """Tell whether a variable is one of the network's own classifier."""
    layers = {bias.rpartition("/")[0] for bias in family.anatomy.classifier_biases}
    return name.startswith(tuple(f"{scope}{layer}/" for layer in layers))
