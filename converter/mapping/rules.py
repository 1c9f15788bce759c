"""The engine: rules, as data, decide which source tensor becomes which target tensor. It knows no model.

A rule reads like a line of a table::

    blocks_{mbconv}/depthwise_conv2d/depthwise_kernel  ->  stages.{mbconv}.depthwise.conv.weight  (depthwise)

A group in braces stands for one part of a name, without `/`; with dots, `{path...}`, for any number of parts.
A pattern has at most two groups with dots (see `patterns`).
A group that is named in the rule set's `words` stands only for the words listed there, and the target gets their
translation: with `words={"mbconv": {"10": "3.0"}}` the rule above sends `blocks_10/...` to `stages.3.0...`.
Everything else in a pattern is literal.

The result is a `Plan`, in which every source is used once or ignored for a stated reason and every target is filled
once, or a `MappingError` that lists all that stands against it.
"""

from __future__ import annotations

import collections
import dataclasses
import difflib
import functools
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ..errors import Ambiguity, MappingError, Mismatch, Missing, Shape, Unmapped
from .layout import LAYOUTS
from .patterns import GROUP, Pattern, Words, check_pattern, group_names

#: Which of a variable's names rules are about: its path through the object graph, its name in the program, or its key.
#: All three are the same in a checkpoint without object graph.
Names: TypeAlias = Literal["path", "full_name", "key"]
NAMES: tuple[Names, ...] = get_args(Names)

#: Names like a missing one are looked for up to this many missing targets: beyond it the table is the wrong one.
MAX_SUGGESTIONS = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """Sources whose name fits `source` become `target`, in `layout` (a name of `LAYOUTS`)."""

    source: str
    target: str
    layout: str = "identity"


@dataclasses.dataclass(frozen=True, slots=True)
class Ignore:
    """Sources whose name fits `source` are left out on purpose."""

    source: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Constant:
    """Targets whose name fits `target` are scalars of `value` in NumPy's `dtype`; no source holds them."""

    target: str
    value: float
    dtype: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """A whole table, checked when it is made: layouts exist, and targets use only groups their source has.

    `names` says which names patterns are about.
    `scope` is what every rule's source begins with, taken literally; what is ignored may stand outside it.
    """

    name: str
    version: str
    rules: tuple[Rule, ...]
    names: Names = "path"
    scope: str = ""
    ignores: tuple[Ignore, ...] = ()
    constants: tuple[Constant, ...] = ()
    words: Words = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise `ValueError` for a rule that cannot be meant."""
        for rule in self.rules:
            if rule.layout not in LAYOUTS:
                raise ValueError(
                    f"rule {rule.source!r}: unknown layout {rule.layout!r}, known are {', '.join(LAYOUTS)}"
                )
            check_pattern(rule.source)
            unknown = group_names(rule.target) - group_names(rule.source)
            if unknown:
                raise ValueError(f"rule {rule.source!r}: target {rule.target!r} has unknown group {min(unknown)!r}")
        for ignore in self.ignores:
            check_pattern(ignore.source)
        for constant in self.constants:
            check_pattern(constant.target)
            if not _holds(np.dtype(constant.dtype), constant.value):
                raise ValueError(f"constant {constant.target!r}: {constant.dtype} has no {constant.value!r}")


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a number is one that a dtype has, rounded to its precision at most."""
    if abs(value) > sys.float_info.max and value not in (math.inf, -math.inf):
        return False  # a whole number that is beyond all of them
    if dtype.kind == "f":
        return not math.isfinite(value) or abs(value) <= np.finfo(dtype).max
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return math.isfinite(value) and value == int(value) and int(least) <= value <= int(most)


class Source(NamedTuple):
    """A tensor of the checkpoint: its `name` there, its shape, and the `variable` name that rules are about.

    `label` is what messages call it, where its name alone says little.
    `averaged` says that it is the variable's moving average.
    """

    name: str
    shape: Shape
    variable: str
    label: str = ""
    averaged: bool = False

    @property
    def shown(self) -> str:
        """What messages call it."""
        return self.label or self.name


class Ignored(NamedTuple):
    """A source tensor that is left out, and why."""

    name: str
    reason: str


class Move(NamedTuple):
    """One tensor's way: source name and shape, layout, target name and shape."""

    source: str
    source_shape: Shape
    layout: str
    target: str
    target_shape: Shape


class Filled(NamedTuple):
    """A target that a constant fills, and why."""

    target: str
    value: float
    dtype: str
    reason: str


class Plan(NamedTuple):
    """What becomes what: `moves` and `constants` in the order of the targets, `ignored` by name."""

    moves: tuple[Move, ...]
    ignored: tuple[Ignored, ...]
    constants: tuple[Filled, ...]


class Draft(NamedTuple):
    """What a rule set makes of sources and targets, with everything that keeps it from being a plan."""

    moves: tuple[Move, ...]
    ignored: tuple[Ignored, ...]
    constants: tuple[Filled, ...]
    unmapped: tuple[Unmapped, ...]
    missing: tuple[Missing, ...]
    mismatched: tuple[Mismatch, ...]
    ambiguous: tuple[Ambiguity, ...]
    idle: tuple[Rule, ...]

    @property
    def complete(self) -> bool:
        """Whether every source is used once or ignored, and every target filled once."""
        return not (self.unmapped or self.missing or self.mismatched or self.ambiguous)

    def required(self) -> Plan:
        """Give it as a plan; `MappingError` with all that stands against it if it is none."""
        if not self.complete:
            raise MappingError(
                unmapped=self.unmapped, missing=self.missing, mismatched=self.mismatched, ambiguous=self.ambiguous
            )
        return Plan(self.moves, self.ignored, self.constants)


def plan(
    sources: Iterable[Source],
    rules: RuleSet,
    targets: Mapping[str, Shape],
    *,
    set_aside: Iterable[Ignored] = (),
) -> Plan:
    """Pair sources and targets one to one.

    `set_aside` are sources that were left out before the rules were asked; they are listed among the ignored.
    Raises `MappingError` with every unmapped, missing, mismatched and ambiguous tensor.
    """
    return draft(sources, rules, targets, set_aside=set_aside).required()


def draft(
    sources: Iterable[Source],
    rules: RuleSet,
    targets: Mapping[str, Shape],
    *,
    set_aside: Iterable[Ignored] = (),
) -> Draft:
    """Pair what the rules pair, and list the rest; `idle` are rules that took no source."""
    table = _Table(rules)
    ignored = list(set_aside)
    unmapped: list[Unmapped] = []
    ambiguous: list[Ambiguity] = []
    mismatched: list[Mismatch] = []
    moves: dict[str, Move] = {}
    takers: dict[str, list[str]] = collections.defaultdict(list)
    idle = dict.fromkeys(rules.rules)
    for source in sources:
        found = table.lookup(source.variable)
        for match in found:
            if isinstance(match.rule, Rule):
                idle.pop(match.rule, None)
        if len(found) > 1:
            ambiguous.append(Ambiguity(source.shown, tuple(match.describe() for match in found)))
        elif not found:
            unmapped.append(Unmapped(source.shown, source.shape))
        elif isinstance(found[0].rule, Ignore):
            ignored.append(Ignored(source.name, found[0].rule.reason))
        elif found[0].target not in targets:
            unmapped.append(Unmapped(source.shown, source.shape, found[0].target))
        else:
            move = _move(source, found[0].rule, found[0].target, targets[found[0].target])
            takers[move.target].append(source.shown)
            if isinstance(move, Mismatch):
                mismatched.append(move)
            else:
                moves[move.target] = move

    constants: list[Filled] = []
    unfilled: list[str] = []
    for target in targets:
        values = [constant for pattern, constant in table.constants if pattern.match(target) is not None]
        fillers = [*takers.get(target, ()), *(f"the constant {constant.value}" for constant in values)]
        if len(fillers) > 1:
            ambiguous.append(Ambiguity(target, tuple(fillers)))
        elif not fillers:
            unfilled.append(target)
        elif values:
            constants.append(Filled(target, values[0].value, values[0].dtype, values[0].reason))

    spare = [finding.name for finding in unmapped] if len(unfilled) <= MAX_SUGGESTIONS else []
    return Draft(
        tuple(moves[target] for target in targets if target in moves),
        tuple(sorted(ignored)),
        tuple(constants),
        tuple(unmapped),
        tuple(_missing(table, target, targets[target], spare) for target in unfilled),
        tuple(mismatched),
        tuple(ambiguous),
        tuple(idle),
    )


def targets_of(sources: Iterable[Source], rules: RuleSet) -> dict[str, Shape]:
    """List the targets that the rules themselves make of sources: name -> shape, in the order of the sources.

    Constants without groups follow.
    A source that several rules take makes none: which of them is meant is not known.
    A source that has not the axes of its layout keeps its shape here; planning then says what is wrong with it.
    """
    table = _Table(rules)
    targets: dict[str, Shape] = {}
    for source in sources:
        found = table.lookup(source.variable)
        if len(found) == 1 and isinstance(found[0].rule, Rule):
            try:
                shape = LAYOUTS[found[0].rule.layout].target_shape(source.shape)
            except ValueError:
                shape = source.shape
            targets.setdefault(found[0].target, shape)
    return {**targets, **{constant.target: () for constant in rules.constants if not group_names(constant.target)}}


def origins_of(targets: Iterable[str], rules: RuleSet) -> dict[str, tuple[tuple[str, str], ...] | None]:
    """Give for each target the names of variables that the rules would make it of, each with its layout.

    None stands for a target that a constant fills.
    """
    table = _Table(rules)
    return {
        target: None
        if any(pattern.match(target) is not None for pattern, _ in table.constants)
        else tuple((name, rule.layout) for name, rule in table.sources_of(target))
        for target in targets
    }


def translate(names: Iterable[str], rules: RuleSet) -> dict[str, str]:
    """Give the target of every name, one to one, for names of which nothing is ignored and no shape is looked at.

    Raises `MappingError` for a name that no rule or that several take, and for a target that several names get.
    """
    table = _Table(rules)
    targets: dict[str, str] = {}
    unmapped: list[Unmapped] = []
    ambiguous: list[Ambiguity] = []
    takers: dict[str, list[str]] = collections.defaultdict(list)
    for name in names:
        found = table.lookup(name)
        if len(found) > 1:
            ambiguous.append(Ambiguity(name, tuple(match.describe() for match in found)))
        elif not found:
            unmapped.append(Unmapped(name, ()))
        else:
            targets[name] = found[0].target
            takers[found[0].target].append(name)
    ambiguous += [Ambiguity(target, tuple(several)) for target, several in takers.items() if len(several) > 1]
    if unmapped or ambiguous:
        raise MappingError(unmapped=unmapped, ambiguous=ambiguous)
    return targets


def ignored_by(ignores: Iterable[Ignore], variable: str) -> str | None:
    """Give the reason for which a table leaves a variable out, None when no line of it does."""
    return next(
        (ignore.reason for ignore in ignores if _ignore_pattern(ignore.source).match(variable) is not None), None
    )


@functools.lru_cache(maxsize=256)
def _ignore_pattern(pattern: str) -> Pattern:
    return Pattern(pattern, {})


def _move(source: Source, rule: Rule, target: str, expected: Shape) -> Move | Mismatch:
    """Check one pairing's shapes."""
    try:
        found = LAYOUTS[rule.layout].target_shape(source.shape)
    except ValueError:
        return Mismatch(source.shown, source.shape, rule.layout, target, None, expected)
    if found != expected:
        return Mismatch(source.shown, source.shape, rule.layout, target, found, expected)
    return Move(source.name, source.shape, rule.layout, target, found)


def _missing(table: _Table, target: str, shape: Shape, spare: Sequence[str]) -> Missing:
    """Describe an unfilled target, with the names its source might have and unused names like them."""
    expected = tuple(name for name, _ in table.sources_of(target))
    close = dict.fromkeys(name for wanted in expected for name in difflib.get_close_matches(wanted, spare))
    return Missing(target, shape, expected, tuple(close))


class _Match(NamedTuple):
    """A rule that fits a name, and the target it gives it; no target when it ignores."""

    rule: Rule | Ignore
    target: str

    def describe(self) -> str:
        """Say it for an error message."""
        if isinstance(self.rule, Rule):
            return f"the rule {self.rule.source} (to {self.target})"
        return f"the ignore {self.rule.source} ({self.rule.reason})"


class _Table:
    """A rule set with its patterns compiled."""

    def __init__(self, rules: RuleSet) -> None:
        self._scope = rules.scope
        self._words = rules.words
        self._back = {
            group: {translation: word for word, translation in words.items()} for group, words in rules.words.items()
        }
        self._entries: list[tuple[Pattern, Rule | Ignore]] = [
            *((Pattern(rule.source, rules.words, rules.scope), rule) for rule in rules.rules),
            *((Pattern(ignore.source, rules.words), ignore) for ignore in rules.ignores),
        ]
        self.constants = [(Pattern(constant.target, {}), constant) for constant in rules.constants]

    def lookup(self, name: str) -> list[_Match]:
        """Give every rule that fits a source's name."""
        found = []
        for pattern, rule in self._entries:
            match = pattern.match(name)
            if match is not None:
                target = _render(rule.target, match, self._words) if isinstance(rule, Rule) else ""
                found.append(_Match(rule, target))
        return found

    def sources_of(self, target: str) -> tuple[tuple[str, Rule], ...]:
        """Give the source names that would fill a target, where its name tells every group of the source's."""
        names = []
        for pattern, rule in self._backwards:
            match = pattern.match(target)
            if match is not None and group_names(rule.source) <= set(match):
                names.append((self._scope + _render(rule.source, match, self._back), rule))
        return tuple(names)

    @functools.cached_property
    def _backwards(self) -> list[tuple[Pattern, Rule]]:
        """Patterns over target names, which only an error message needs."""
        return [(Pattern(rule.target, self._back), rule) for _, rule in self._entries if isinstance(rule, Rule)]


def is_literal(name: str) -> bool:
    """Whether a name can stand in a pattern for itself: one with something in braces cannot."""
    return GROUP.search(name) is None


def _render(template: str, groups: Mapping[str, str], words: Words) -> str:
    """Fill a template with what its groups matched, translated where there are words for it."""
    return GROUP.sub(lambda group: words.get(group[1], {}).get(groups[group[1]], groups[group[1]]), template)
