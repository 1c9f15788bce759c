"""The mapping engine: rules are data and decide which source tensor becomes which target. No model is known here.

A rule reads like a line of a table::

    blocks_{mbconv}/depthwise_conv2d/depthwise_kernel  ->  stages.{mbconv}.depthwise.conv.weight  (depthwise)

A group in braces matches one part of a name, without `/`; with dots, `{path...}`, it matches any number of parts.
A pattern has at most two groups with dots (see `patterns`).
A group that is a key of the rule set's `words` matches only the words listed there, and the target gets their
translation: with `words={"mbconv": {"10": "3.0"}}` the rule above maps `blocks_10/...` to `stages.3.0...`.
Everything else in a pattern is literal.

The result is either a `Plan`, in which every source is used once or ignored for a stated reason and every target is
filled once, or a `MappingError` that lists every reason why not.
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

from tfckpt._threads import cached_property

from ..errors import Ambiguity, MappingError, Mismatch, Missing, Shape, Unmapped
from .layout import LAYOUTS
from .patterns import GROUP, Pattern, Words, check_pattern, list_groups

#: The name of a variable that rules match: its path through the object graph, its full name, or its checkpoint key.
#: All three are the same in a checkpoint without object graph.
Names: TypeAlias = Literal["path", "full_name", "key"]
NAMES: tuple[Names, ...] = get_args(Names)

#: Close names are suggested for at most this many missing targets; with more, the rules are for another network.
MAX_SUGGESTIONS = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A rule that maps sources matching `source` to `target` in `layout`, a key of `LAYOUTS`."""

    source: str
    target: str
    layout: str = "identity"


@dataclasses.dataclass(frozen=True, slots=True)
class Ignore:
    """A rule that ignores sources matching `source`, for a stated reason."""

    source: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Constant:
    """A rule that fills targets matching `target` with a scalar `value` of a NumPy `dtype`, for a stated reason."""

    target: str
    value: float
    dtype: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """A table of rules; the constructor checks that layouts exist and that targets use only groups of their source.

    `names` selects which names patterns match.
    `scope` is the literal start of every rule's source. Ignores are not limited to it.
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
        """Raise `ValueError` for an invalid rule."""
        for rule in self.rules:
            if rule.layout not in LAYOUTS:
                raise ValueError(
                    f"rule {rule.source!r}: unknown layout {rule.layout!r}, expected one of {', '.join(LAYOUTS)}"
                )
            check_pattern(rule.source)
            unknown = list_groups(rule.target) - list_groups(rule.source)
            if unknown:
                raise ValueError(f"rule {rule.source!r}: target {rule.target!r} has unknown group {min(unknown)!r}")
        for ignore in self.ignores:
            check_pattern(ignore.source)
        for constant in self.constants:
            check_pattern(constant.target)
            if not _can_hold(np.dtype(constant.dtype), constant.value):
                raise ValueError(f"constant {constant.target!r}: {constant.dtype} cannot hold {constant.value!r}")


def _can_hold(dtype: np.dtype[Any], value: float) -> bool:
    """Return whether a dtype can represent a number, if necessary rounded to its precision."""
    if abs(value) > sys.float_info.max and value not in (math.inf, -math.inf):
        return False  # an int beyond the range of every dtype
    if dtype.kind == "f":
        return not math.isfinite(value) or abs(value) <= np.finfo(dtype).max
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return math.isfinite(value) and value == int(value) and int(least) <= value <= int(most)


class Source(NamedTuple):
    """A tensor of the checkpoint: its `name` there, its shape, and its `variable` name, which rules match.

    `label` replaces the name in messages if the name alone says little.
    `averaged` is True for the variable's moving average.
    """

    name: str
    shape: Shape
    variable: str
    label: str = ""
    averaged: bool = False

    @property
    def shown(self) -> str:
        """The name to show in messages."""
        return self.label or self.name


class Ignored(NamedTuple):
    """A source tensor that is not converted, and the reason."""

    name: str
    reason: str


class Move(NamedTuple):
    """The conversion of one tensor: source name and shape, layout, target name and shape."""

    source: str
    source_shape: Shape
    layout: str
    target: str
    target_shape: Shape


class Filled(NamedTuple):
    """A target filled with a constant, and the reason."""

    target: str
    value: float
    dtype: str
    reason: str


class Plan(NamedTuple):
    """A complete mapping: `moves` and `constants` in the order of the targets, `ignored` sorted by name."""

    moves: tuple[Move, ...]
    ignored: tuple[Ignored, ...]
    constants: tuple[Filled, ...]


class Draft(NamedTuple):
    """A possibly incomplete mapping, with every problem that prevents a plan; `idle` rules matched no source."""

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
        """True if every source is used once or ignored and every target is filled once."""
        return not (self.unmapped or self.missing or self.mismatched or self.ambiguous)

    def to_plan(self) -> Plan:
        """Return the plan, or raise `MappingError` with every reason why there is none."""
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
    """Map sources to targets one to one.

    `set_aside` lists sources that were ignored before the rules are applied; the plan lists them as ignored.
    Raises `MappingError` with every unmapped, missing, mismatched and ambiguous tensor.
    """
    return draft(sources, rules, targets, set_aside=set_aside).to_plan()


def draft(
    sources: Iterable[Source],
    rules: RuleSet,
    targets: Mapping[str, Shape],
    *,
    set_aside: Iterable[Ignored] = (),
) -> Draft:
    """Map sources to targets as far as the rules allow, and list all problems."""
    table = _Table(rules)
    ignored = list(set_aside)
    unmapped: list[Unmapped] = []
    ambiguous: list[Ambiguity] = []
    mismatched: list[Mismatch] = []
    moves: dict[str, Move] = {}
    sources_by_target: dict[str, list[str]] = collections.defaultdict(list)
    idle = dict.fromkeys(rules.rules)
    for source in sources:
        matches = table.lookup(source.variable)
        for match in matches:
            if isinstance(match.rule, Rule):
                idle.pop(match.rule, None)
        if len(matches) > 1:
            ambiguous.append(Ambiguity(source.shown, tuple(match.describe() for match in matches)))
        elif not matches:
            unmapped.append(Unmapped(source.shown, source.shape))
        elif isinstance(matches[0].rule, Ignore):
            ignored.append(Ignored(source.name, matches[0].rule.reason))
        elif matches[0].target not in targets:
            unmapped.append(Unmapped(source.shown, source.shape, matches[0].target))
        else:
            move = _check_shapes(source, matches[0].rule, matches[0].target, targets[matches[0].target])
            sources_by_target[move.target].append(source.shown)
            if isinstance(move, Mismatch):
                mismatched.append(move)
            else:
                moves[move.target] = move

    constants: list[Filled] = []
    unfilled: list[str] = []
    for target in targets:
        values = [constant for pattern, constant in table.constants if pattern.match(target) is not None]
        fillers = [*sources_by_target.get(target, ()), *(f"the constant {constant.value}" for constant in values)]
        if len(fillers) > 1:
            ambiguous.append(Ambiguity(target, tuple(fillers)))
        elif not fillers:
            unfilled.append(target)
        elif values:
            constants.append(Filled(target, values[0].value, values[0].dtype, values[0].reason))

    unused = [finding.name for finding in unmapped] if len(unfilled) <= MAX_SUGGESTIONS else []
    return Draft(
        tuple(moves[target] for target in targets if target in moves),
        tuple(sorted(ignored)),
        tuple(constants),
        tuple(unmapped),
        tuple(_describe_missing(table, target, targets[target], unused) for target in unfilled),
        tuple(mismatched),
        tuple(ambiguous),
        tuple(idle),
    )


def derive_targets(sources: Iterable[Source], rules: RuleSet) -> dict[str, Shape]:
    """Return name -> shape of the targets that rules produce from sources, in the order of the sources.

    Constants without groups follow.
    A source that several rules match is skipped, since the intended rule is unknown.
    A source whose rank does not match its layout keeps its shape here; planning reports the mismatch.
    """
    table = _Table(rules)
    targets: dict[str, Shape] = {}
    for source in sources:
        matches = table.lookup(source.variable)
        if len(matches) == 1 and isinstance(matches[0].rule, Rule):
            try:
                shape = LAYOUTS[matches[0].rule.layout].target_shape(source.shape)
            except ValueError:
                shape = source.shape
            targets.setdefault(matches[0].target, shape)
    return {**targets, **{constant.target: () for constant in rules.constants if not list_groups(constant.target)}}


def find_origins(targets: Iterable[str], rules: RuleSet) -> dict[str, tuple[tuple[str, str], ...] | None]:
    """Return for each target the (variable, layout) pairs that rules would produce it from; None for a constant."""
    table = _Table(rules)
    return {
        target: None
        if any(pattern.match(target) is not None for pattern, _ in table.constants)
        else tuple((name, rule.layout) for name, rule in table.find_sources(target))
        for target in targets
    }


def translate(names: Iterable[str], rules: RuleSet) -> dict[str, str]:
    """Return name -> target for every name, one to one, without looking at shapes; the rules must not ignore a name.

    Raises `MappingError` for a name that no rule or several rules match, and for a target of several names.
    """
    table = _Table(rules)
    targets: dict[str, str] = {}
    unmapped: list[Unmapped] = []
    ambiguous: list[Ambiguity] = []
    sources_by_target: dict[str, list[str]] = collections.defaultdict(list)
    for name in names:
        matches = table.lookup(name)
        if len(matches) > 1:
            ambiguous.append(Ambiguity(name, tuple(match.describe() for match in matches)))
        elif not matches:
            unmapped.append(Unmapped(name, ()))
        else:
            targets[name] = matches[0].target
            sources_by_target[matches[0].target].append(name)
    ambiguous += [Ambiguity(target, tuple(rivals)) for target, rivals in sources_by_target.items() if len(rivals) > 1]
    if unmapped or ambiguous:
        raise MappingError(unmapped=unmapped, ambiguous=ambiguous)
    return targets


def find_ignore_reason(ignores: Iterable[Ignore], variable: str) -> str | None:
    """Return the reason of the first ignore that matches a variable, or None."""
    return next(
        (ignore.reason for ignore in ignores if _compile_ignore(ignore.source).match(variable) is not None), None
    )


@functools.lru_cache(maxsize=256)
def _compile_ignore(pattern: str) -> Pattern:
    return Pattern(pattern, {})


def _check_shapes(source: Source, rule: Rule, target: str, expected: Shape) -> Move | Mismatch:
    """Return the move of a source to a target, or the mismatch of their shapes."""
    try:
        shape = LAYOUTS[rule.layout].target_shape(source.shape)
    except ValueError:
        return Mismatch(source.shown, source.shape, rule.layout, target, None, expected)
    if shape != expected:
        return Mismatch(source.shown, source.shape, rule.layout, target, shape, expected)
    return Move(source.name, source.shape, rule.layout, target, shape)


def _describe_missing(table: _Table, target: str, shape: Shape, unused: Sequence[str]) -> Missing:
    """Return an unfilled target with the names that its source could have and close names among unused sources."""
    expected = tuple(name for name, _ in table.find_sources(target))
    close = dict.fromkeys(name for wanted in expected for name in difflib.get_close_matches(wanted, unused))
    return Missing(target, shape, expected, tuple(close))


class _Match(NamedTuple):
    """A rule that matches a name, and the resulting target; the target of an ignore is empty."""

    rule: Rule | Ignore
    target: str

    def describe(self) -> str:
        """Return a description for error messages."""
        if isinstance(self.rule, Rule):
            return f"the rule {self.rule.source} (to {self.target})"
        return f"the ignore {self.rule.source} ({self.rule.reason})"


class _Table:
    """A rule set with compiled patterns."""

    def __init__(self, rules: RuleSet) -> None:
        self._scope = rules.scope
        self._words = rules.words
        self._inverse_words = {
            group: {translation: word for word, translation in words.items()} for group, words in rules.words.items()
        }
        self._entries: list[tuple[Pattern, Rule | Ignore]] = [
            *((Pattern(rule.source, rules.words, rules.scope), rule) for rule in rules.rules),
            *((Pattern(ignore.source, rules.words), ignore) for ignore in rules.ignores),
        ]
        self.constants = [(Pattern(constant.target, {}), constant) for constant in rules.constants]

    def lookup(self, name: str) -> list[_Match]:
        """Return every rule that matches the name of a source."""
        matches = []
        for pattern, rule in self._entries:
            groups = pattern.match(name)
            if groups is not None:
                target = _render(rule.target, groups, self._words) if isinstance(rule, Rule) else ""
                matches.append(_Match(rule, target))
        return matches

    def find_sources(self, target: str) -> tuple[tuple[str, Rule], ...]:
        """Return the sources that would fill a target, of rules whose target contains every group of the source."""
        names = []
        for pattern, rule in self._target_patterns:
            groups = pattern.match(target)
            if groups is not None and list_groups(rule.source) <= set(groups):
                names.append((self._scope + _render(rule.source, groups, self._inverse_words), rule))
        return tuple(names)

    @cached_property
    def _target_patterns(self) -> list[tuple[Pattern, Rule]]:
        """Patterns that match target names; compiled on demand, since only errors and reversal need them."""
        return [
            (Pattern(rule.target, self._inverse_words), rule) for _, rule in self._entries if isinstance(rule, Rule)
        ]


def is_literal(name: str) -> bool:
    """Return whether a name, used as a pattern, matches only itself: it contains no group."""
    return GROUP.search(name) is None


def _render(template: str, groups: Mapping[str, str], words: Words) -> str:
    """Return a template with each group replaced by its matched text or its translation in `words`."""
    return GROUP.sub(lambda group: words.get(group[1], {}).get(groups[group[1]], groups[group[1]]), template)
