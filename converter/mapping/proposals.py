"""Rules proposed for what a plan leaves over, by shape and by likeness of names. They are guesses, and never applied.

A source and a target are compared when a layout makes the one's shape the other's.
Names are compared part by part: words that frameworks use for the same thing count as one, numbers have to agree.
Pairs that differ in numbers alone become one rule with a group.
"""

from __future__ import annotations

import collections
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tfckpt.errors import pluralize
from tfckpt.graphs.training_state import state_by_name

from ..errors import Shape
from .layout import LAYOUTS
from .rules import Ignore, Names, Rule, RuleSet, Source, draft, is_literal
from .rules_file import ignore_lines, rule_lines

#: Least likeness of a proposal, from 0 to 1.
LEAST_LIKENESS = 0.3
#: Sources and targets compared with each other at most; beyond it the likeness of names alone says little.
MAX_PAIRS = 200_000

#: What one framework calls a thing, and the other.
_SAME = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "embeddings": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "layernorm": "norm",
    "layer_norm": "norm",
    "batch_normalization": "bn",
    "beginning": "begin",
}
#: Layouts tried, the likeliest of several that fit first, by what the source's name ends in.
_BY_LAST = {
    "depthwise_kernel": ("depthwise",),
    "kernel": ("dense", "conv2d", "conv1d", "conv3d", "conv2d_transpose", "depthwise"),
}
_COUNTERS = {"global_step", "iteration", "learning_rate", "save_counter"}
_NUMBER = re.compile(r"\d+")
_STATE_REASON = "looks like the state of a training"


class Proposal(NamedTuple):
    """A rule that would take so many `tensors` of those left over; `likeness` of the names is from 0 to 1."""

    rule: Rule | Ignore
    tensors: int
    likeness: float

    def lines(self) -> list[str]:
        """Write it as TOML, marked as the proposal it is, with an empty line before it."""
        lines = rule_lines(self.rule) if isinstance(self.rule, Rule) else ignore_lines(self.rule)
        tensors = pluralize(self.tensors, "tensor")
        return ["", f"# proposal: {tensors}, likeness {self.likeness:.2f}", *lines[1:]]


class _Pair(NamedTuple):
    source: Source
    target: str
    layout: str
    likeness: float


def propose(
    sources: Sequence[Source], targets: Mapping[str, Shape], *, scope: str = "", names: Names = "path"
) -> list[Proposal]:
    """Propose rules for sources and targets that are left over, the likeliest first.

    Names that hold groups in braces of their own cannot be written as patterns, and are left out.
    """
    sources = [source for source in sources if is_literal(source.variable)]
    targets = {target: shape for target, shape in targets.items() if is_literal(target)}
    states = [source for source in sources if _is_state(source.variable)]
    others = [source for source in sources if not _is_state(source.variable) and source.variable.startswith(scope)]
    pairs = _best(_pairs(others, targets, scope))
    proposals = _generalised(pairs, others, targets, scope, names)
    endings = collections.Counter(_state_pattern(source.variable) for source in states)
    proposals += [Proposal(Ignore(pattern, _STATE_REASON), count, 1.0) for pattern, count in endings.items()]
    return proposals


def _pairs(sources: Sequence[Source], targets: Mapping[str, Shape], scope: str) -> Iterator[_Pair]:
    """Give every pair whose shapes fit, with the likeness of its names."""
    by_shape: dict[Shape, list[str]] = collections.defaultdict(list)
    for target, shape in targets.items():
        by_shape[shape].append(target)
    spent = 0
    parts = {target: _parts(target) for target in targets}
    for source in sources:
        own = _parts(source.variable.removeprefix(scope))
        taken: set[str] = set()
        for layout in _layouts(source):
            for target in by_shape.get(LAYOUTS[layout].target_shape(source.shape), ()):
                spent += 1
                if target not in taken and spent <= MAX_PAIRS:
                    taken.add(target)
                    yield _Pair(source, target, layout, _likeness(own, parts[target]))


def _layouts(source: Source) -> Iterator[str]:
    """Give the layouts a source has the axes for, the likeliest first."""
    last = source.variable.rpartition("/")[2]
    for layout in (*_BY_LAST.get(last, ()), "identity"):
        axes = len(LAYOUTS[layout].permutation)
        if axes in (0, len(source.shape)):
            yield layout


def _parts(name: str) -> tuple[str, ...]:
    """Split a name into words and numbers, each in the word that stands for both frameworks'."""
    pieces = re.split(r"[/.]", name)
    words: list[str] = []
    for piece in pieces:
        lowered = _SAME.get(piece.lower(), piece.lower())
        known = lowered in _SAME.values()
        words += [lowered] if known else [_SAME.get(word, word) for word in re.findall(r"[a-z]+|\d+", lowered)]
    return tuple(words)


def _likeness(one: Sequence[str], other: Sequence[str]) -> float:
    """Compare two split names: order counts, and so do the numbers in them."""
    ratio = difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
    if _digits(one) != _digits(other):
        ratio *= 0.5
    return ratio if one[-1:] == other[-1:] else ratio * 0.7


def _digits(words: Iterable[str]) -> list[str]:
    return [word for word in words if word.isdigit()]


def _best(pairs: Iterable[_Pair]) -> list[_Pair]:
    """Choose pairs, the likeliest first, so that each source and each target has one."""
    chosen = []
    sources: set[str] = set()
    targets: set[str] = set()
    for pair in sorted(pairs, key=lambda pair: (-pair.likeness, pair.source.variable, pair.target)):
        if pair.likeness < LEAST_LIKENESS:
            break
        if pair.source.name not in sources and pair.target not in targets:
            sources.add(pair.source.name)
            targets.add(pair.target)
            chosen.append(pair)
    return chosen


def _generalised(
    pairs: Sequence[_Pair], sources: Sequence[Source], targets: Mapping[str, Shape], scope: str, names: Names
) -> list[Proposal]:
    """Join pairs that differ in numbers alone into one rule, where that rule makes exactly these pairs."""
    groups: dict[Rule, list[_Pair]] = collections.defaultdict(list)
    for pair in pairs:
        groups[_pattern(pair, scope)].append(pair)
    proposals = []
    for rule, group in groups.items():
        made = {(pair.source.name, pair.target) for pair in group}
        whole = RuleSet(name="proposal", version="1", rules=(rule,), scope=scope, names=names)
        moves = draft(sources, whole, targets).moves
        if len(group) > 1 and {(move.source, move.target) for move in moves} == made:
            proposals.append(Proposal(rule, len(group), sum(pair.likeness for pair in group) / len(group)))
        else:
            proposals += [
                Proposal(Rule(pair.source.variable.removeprefix(scope), pair.target, pair.layout), 1, pair.likeness)
                for pair in group
            ]
    return sorted(proposals, key=lambda proposal: -proposal.likeness)


def _pattern(pair: _Pair, scope: str) -> Rule:
    """Put a group in the place of every number that source and target share."""
    source, target = pair.source.variable.removeprefix(scope), pair.target
    shared = [number for number in dict.fromkeys(_NUMBER.findall(source)) if number in _NUMBER.findall(target)]
    for position, number in enumerate(shared):
        group = "{" + "nmk"[position] + "}" if position < 3 else number
        once = re.compile(rf"(?<!\d){number}(?!\d)")
        if len(once.findall(source)) == 1 and len(once.findall(target)) == 1:
            source, target = once.sub(group, source), once.sub(group, target)
    return Rule(source, target, pair.layout)


def _is_state(name: str) -> bool:
    """Whether a variable looks like the state of a training: a counter, or a slot even without its variable."""
    return name.rpartition("/")[2] in _COUNTERS or state_by_name(name)[1] is not None


def _state_pattern(name: str) -> str:
    """Write a pattern for a variable that looks like the state of a training, by its last part."""
    before, _, last = name.rpartition("/")
    return f"{{variable...}}/{last}" if before else last
