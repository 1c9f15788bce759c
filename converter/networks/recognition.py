"""The recognition of a ready network in a checkpoint: by the names after a scope, and by shapes."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from tfckpt.errors import printable

from ..errors import Shape, UnknownModelError
from ..mapping.patterns import Words
from ..mapping.rules import RuleSet
from .network import Network, Part, Recognized, Shapes
from .settings import Settings, SettingsFile, parse_settings
from .tables import NETWORKS

#: Reads a file saved with the checkpoint, or returns None if there is none of this name.
ReadFile = Callable[[str], bytes | None]


class _Candidate(NamedTuple):
    network: Network
    scope: str
    shapes: Shapes


def recognize(
    variables: Mapping[str, Shape], read_file: ReadFile, *, scope: str | None = None, part: str | None = None
) -> Recognized | None:
    """Return the network in a checkpoint whose variables have these names and shapes; None if there is none.

    Raises `UnknownModelError` if there are several and neither `scope` nor `part` chooses one, or if the part that was
    requested is not in the checkpoint.
    """
    found = list(_find(variables))
    if scope is not None:
        found = [one for one in found if one.scope.rstrip("/") == scope.rstrip("/")]
    if not found:
        return None
    if len(found) > 1:
        names = ", ".join(f"{one.network.title} under {printable(one.scope)!r}" for one in found)
        raise UnknownModelError(
            f"the checkpoint contains several networks: {names}; choose one with --scope",
            choices=[one.scope for one in found],
        )
    candidate = found[0]
    chosen = _choose_part(candidate, part)
    settings = Settings(_read_settings(candidate.network, read_file))
    try:
        candidate.network.describe(candidate.shapes, settings, chosen)
    except (IndexError, KeyError, ValueError, ZeroDivisionError):
        raise UnknownModelError(
            f"the checkpoint has the names of {candidate.network.title}, but a tensor that shows its size has another "
            "number of axes, or is missing"
        ) from None
    table = candidate.network.build_rules(settings, chosen)
    rules = RuleSet(
        name=candidate.network.name,
        version=candidate.network.version,
        names="key",
        scope=candidate.scope,
        rules=table.rules,
        ignores=table.ignores,
        constants=table.constants,
        tied=table.tied,
        words=_narrow(table.words, candidate.shapes),
    )
    targets = candidate.network.list_targets(settings, chosen).shapes
    others = [one.name for one in _list_parts(candidate) if one.name != chosen.name]
    return Recognized(candidate.network, chosen, candidate.scope, settings, rules, targets, tuple(others))


def _narrow(words: Words, names: Iterable[str]) -> Words:
    """Return the words without those that stand for the same as others and are in no name, so that the way back is one.

    Releases of a code base may call one layer differently.
    """
    between = [f"/{name}/" for name in names]
    narrowed = {}
    for group, translations in words.items():
        there = dict(translations)
        if len(set(there.values())) < len(there):
            there = {word: to for word, to in there.items() if any(f"/{word}/" in name for name in between)}
        narrowed[group] = there or translations
    return narrowed


def _find(variables: Mapping[str, Shape]) -> Iterable[_Candidate]:
    """Yield every network with the scope that its stem shows, if its anchors exist under that scope."""
    scopes: dict[str, list[Network]] = collections.defaultdict(list)
    for name in variables:
        for network in NETWORKS:
            scope = network.find_scope(name)
            if scope is not None and all(scope + anchor in variables for anchor in network.anchors):
                scopes[scope].append(network)
    for scope, networks in scopes.items():
        shapes = {name.removeprefix(scope): shape for name, shape in variables.items() if name.startswith(scope)}
        yield from (_Candidate(network, scope, shapes) for network in networks)


def _choose_part(candidate: _Candidate, requested: str | None) -> Part:
    network = candidate.network
    there = _list_parts(candidate)
    names = ", ".join(part.name for part in there)
    if not there:
        needed = " or ".join(" and ".join(part.needs) for part in network.parts)
        raise UnknownModelError(f"the checkpoint has the encoder of {network.title}, but not {needed}")
    if requested is None:
        if network.must_choose and len([part for part in there if part.needs]) > 1:
            raise UnknownModelError(
                f"the checkpoint contains several models of {network.title}: choose --part {names}",
                choices=[part.name for part in there],
            )
        return there[0]
    for part in there:
        if part.name == requested:
            return part
    raise UnknownModelError(
        f"{printable(requested)!r} is not a part of this {network.title}, which has {names}",
        choices=[part.name for part in there],
    )


def _list_parts(candidate: _Candidate) -> list[Part]:
    """Return the parts of a network that a checkpoint contains."""
    return [part for part in candidate.network.parts if all(name in candidate.shapes for name in part.needs)]


def _read_settings(network: Network, read_file: ReadFile) -> SettingsFile | None:
    for name in network.files:
        data = read_file(name)
        if data is not None:
            return parse_settings(name, data)
    return None
