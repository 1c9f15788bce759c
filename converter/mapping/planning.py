"""Planning: rules decide which source tensor becomes which target, from names and shapes.

The result is either a `Plan`, in which every source is used once or ignored for a stated reason and every target is
filled once, or a `MappingError` that lists every reason why not.
"""

from __future__ import annotations

import collections
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import Ambiguity, MappingError, Mismatch, Missing, Shape, Unmapped
from .matching import Table, Use, is_literal
from .moves import Move
from .rules import Rule, RuleSet
from .shapes import derive_shapes, make_moves

#: Close names are suggested for at most this many missing targets; with more, the rules are for another network.
MAX_SUGGESTIONS = 50


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


class Filled(NamedTuple):
    """A target filled with a constant, one value or several for equal parts of its first axis, and the reason."""

    target: str
    value: float | tuple[float, ...]
    dtype: str
    reason: str


class TiedTarget(NamedTuple):
    """A target filled with the tensor of another target, and the reason."""

    target: str
    to: str
    reason: str


class Plan(NamedTuple):
    """A complete mapping: `moves`, `constants` and `tied` in the order of the targets, `ignored` sorted by name."""

    moves: tuple[Move, ...]
    ignored: tuple[Ignored, ...]
    constants: tuple[Filled, ...]
    tied: tuple[TiedTarget, ...] = ()


class Draft(NamedTuple):
    """A possibly incomplete mapping, with every problem that prevents a plan; `idle` rules matched no source."""

    moves: tuple[Move, ...]
    ignored: tuple[Ignored, ...]
    constants: tuple[Filled, ...]
    tied: tuple[TiedTarget, ...]
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
        return Plan(self.moves, self.ignored, self.constants, self.tied)


def plan(
    sources: Iterable[Source],
    rules: RuleSet,
    targets: Mapping[str, Shape],
    *,
    set_aside: Iterable[Ignored] = (),
    shared: Iterable[Sequence[str]] = (),
) -> Plan:
    """Map sources to targets one to one.

    `set_aside` lists sources that were ignored before the rules are applied; the plan lists them as ignored.
    `shared` lists targets that are one tensor of the module under several names.
    Raises `MappingError` with every unmapped, missing, mismatched and ambiguous tensor.
    """
    return draft(sources, rules, targets, set_aside=set_aside, shared=shared).to_plan()


def draft(
    sources: Iterable[Source],
    rules: RuleSet,
    targets: Mapping[str, Shape],
    *,
    set_aside: Iterable[Ignored] = (),
    shared: Iterable[Sequence[str]] = (),
) -> Draft:
    """Map sources to targets as far as the rules allow, and list all problems."""
    table = Table(rules)
    groups = {name: tuple(names) for names in shared for name in names}
    sources = list(sources)
    found = _collect(sources, table, groups)
    unmapped = list(found.unmapped)
    ambiguous = list(found.ambiguous)
    mismatched: list[Mismatch] = []
    moves: dict[str, list[Move]] = {}
    claims: dict[str, list[str]] = collections.defaultdict(list)
    absent: dict[str, list[str]] = {}
    for use, candidates in found.uses.items():
        missing = [name for name, matching in zip(use.sources, candidates, strict=True) if not matching]
        if missing:  # a part of a joined target
            absent |= dict.fromkeys(use.targets, missing)
            continue
        unknown = [target for target in use.targets if target not in targets]
        parts = [matching[0] for matching in candidates]
        unmapped += [Unmapped(source.shown, source.shape, unknown[0]) for source in parts if unknown]
        twice = [matching for matching in candidates if len(matching) > 1]
        names = [source.shown for matching in twice for source in matching]
        for target in use.targets:
            claims[target] += names or [" + ".join(source.shown for source in parts)]
        if unknown or twice:
            continue
        made = make_moves(use, [(part.name, part.shown, part.shape) for part in parts], targets)
        if isinstance(made, Mismatch):
            mismatched.append(made)
            continue
        for move in made:
            moves.setdefault(move.target, []).append(move)

    order = {source.shown: number for number, source in enumerate(sources)}
    unmapped.sort(key=lambda finding: order[finding.name])
    constants: dict[str, Filled] = {}
    for target, shape in targets.items():
        values = table.find_constants(target)
        fillers = [*claims.get(target, ()), *(f"the constant {constant.value}" for constant in values)]
        if len(fillers) > 1:
            ambiguous.append(Ambiguity(target, tuple(fillers)))
        elif values:
            value = values[0].value
            constants[target] = Filled(target, value, values[0].dtype, values[0].reason)
            if isinstance(value, tuple) and (not shape or shape[0] % len(value)):
                problem = f"does not divide into {len(value)} equal parts for the values of the constant"
                mismatched.append(Mismatch(target, shape, "constant", target, None, shape, problem))

    unfilled = [target for target in targets if target not in claims and target not in constants]
    filled = {*constants, *claims}
    tied, findings = _tie(table, unfilled, filled, targets, groups)
    mismatched += [finding for finding in findings if isinstance(finding, Mismatch)]
    ambiguous += [finding for finding in findings if isinstance(finding, Ambiguity)]
    unfilled = [target for target in unfilled if target not in tied]
    unused = [finding.name for finding in unmapped] if len(unfilled) <= MAX_SUGGESTIONS else []
    return Draft(
        tuple(move for target in targets if target in moves for move in moves[target]),
        tuple(sorted([*set_aside, *found.ignored])),
        tuple(constants.values()),
        tuple(tied.values()),
        tuple(unmapped),
        tuple(_describe_missing(table, target, targets[target], unused, absent.get(target)) for target in unfilled),
        tuple(mismatched),
        tuple(ambiguous),
        tuple(rule for rule in rules.rules if rule not in found.matched),
    )


def derive_targets(sources: Iterable[Source], rules: RuleSet) -> dict[str, Shape]:
    """Return name -> shape of the targets that rules produce from sources, in the order of the sources.

    Constants without groups and tied targets follow. A source that is cut has equal parts.
    A source that several rules match is skipped, since the intended rule is unknown.
    A source whose shape does not match its layout keeps its shape here; planning reports the mismatch.
    """
    table = Table(rules)
    targets: dict[str, Shape] = {}
    for use, candidates in _collect(sources, table, {}).uses.items():
        if all(candidates):
            shapes = derive_shapes(use, [matching[0].shape for matching in candidates])
            targets |= {
                target: shape for target, shape in zip(use.targets, shapes, strict=True) if target not in targets
            }
    targets |= {constant.target: () for constant in rules.constants if is_literal(constant.target)}
    for target, shape in list(targets.items()):
        targets |= {name: shape for name in table.find_tied(target) if name not in targets}
    return targets


class _Found(NamedTuple):
    """The sources of every rule that is used, those of each position, and what matches no rule or several."""

    uses: dict[Use, list[list[Source]]]
    matched: set[Rule]
    ignored: list[Ignored]
    unmapped: list[Unmapped]
    ambiguous: list[Ambiguity]


def _collect(sources: Iterable[Source], table: Table, groups: Mapping[str, Sequence[str]]) -> _Found:
    """Return what matches each source; of several rules for the names of one tensor in `groups`, the first counts."""
    found = _Found({}, set(), [], [], [])
    for source in sources:
        matches = table.lookup(source.variable)
        found.matched.update(use.rule for use, _ in matches.uses)
        one_tensor = {groups.get(target) for use, _ in matches.uses for target in use.targets}
        is_same = matches.ignore is None and len(one_tensor) == 1 and None not in one_tensor
        if len(matches.uses) + (matches.ignore is not None) > 1 and not is_same:
            found.ambiguous.append(Ambiguity(source.shown, matches.describe()))
        elif matches.ignore is not None:
            found.ignored.append(Ignored(source.name, matches.ignore.reason))
        elif matches.uses:
            use, position = matches.uses[0]
            found.uses.setdefault(use, [[] for _ in use.sources])[position].append(source)
        else:
            found.unmapped.append(Unmapped(source.shown, source.shape))
    return found


def _tie(
    table: Table,
    unfilled: Sequence[str],
    filled: set[str],
    targets: Mapping[str, Shape],
    groups: Mapping[str, Sequence[str]],
) -> tuple[dict[str, TiedTarget], list[Mismatch | Ambiguity]]:
    """Return the ties of targets that nothing else fills, and what is wrong with them."""
    pending = {
        target: {
            **dict.fromkeys(table.find_ties(target), "tied by a rule"),
            **{to: "one tensor of the module" for to in groups.get(target, ()) if to != target},
        }
        for target in unfilled
    }
    ties: dict[str, TiedTarget] = {}
    findings: list[Mismatch | Ambiguity] = []
    while ready := {target: to for target, to in pending.items() if filled & to.keys()}:
        for target, candidates in ready.items():
            del pending[target]
            by_rule = [to for to, reason in candidates.items() if to in filled and reason == "tied by a rule"]
            if len(by_rule) > 1:
                findings.append(Ambiguity(target, tuple(f"tied to {to}" for to in by_rule)))
            to = next(to for to in candidates if to in filled)
            ties[target] = TiedTarget(target, ties[to].to if to in ties else to, candidates[to])
            if targets[target] != targets.get(to, targets[target]):
                findings.append(Mismatch(to, targets[to], "tied", target, targets[to], targets[target]))
        filled = filled | ready.keys()
    return {target: ties[target] for target in unfilled if target in ties}, findings


def _describe_missing(
    table: Table, target: str, shape: Shape, unused: Sequence[str], absent: Sequence[str] | None
) -> Missing:
    """Return an unfilled target with the names that its source could have and close names among unused sources.

    `absent` are the sources that a join lacks, if it has others.
    """
    expected = tuple(absent or dict.fromkeys(name for use in table.find_uses(target) for name in use.sources))
    close = dict.fromkeys(name for wanted in expected for name in difflib.get_close_matches(wanted, unused))
    return Missing(target, shape, expected, tuple(close))
