"""Proposed rules for the tensors that a plan could not map, by shape and similar names. They are never applied.

A source and a target are compared if some layout turns the source's shape into the target's.
Names are compared part by part: synonyms of the two frameworks count as equal, and so do equal numbers.
Pairs that differ only in numbers become one rule with groups.
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
from .layout import get_layout
from .matching import is_literal
from .part_proposals import propose_parts
from .planning import Source, draft
from .rules import Ignore, Names, Rule, RuleSet
from .rules_file import format_ignore, format_rule

#: Lowest similarity of the names of a proposed pair, from 0 to 1.
LEAST_LIKENESS = 0.3
#: Most pairs compared: with more tensors of the same shape, similar names prove little.
MAX_PAIRS = 200_000

#: TensorFlow's words and PyTorch's words for the same thing.
_SYNONYMS = {
    "kernel": "weight",
    "w": "weight",
    "g": "weight",
    "b": "bias",
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
#: Layouts to try for the last part of a source's name, most likely first.
_LAYOUTS_BY_LAST_PART = {
    "depthwise_kernel": ("depthwise",),
    "kernel": ("dense", "conv2d", "conv1d", "conv3d", "conv2d_transpose", "depthwise"),
}
_COUNTERS = {"global_step", "iteration", "learning_rate", "save_counter"}
_NUMBER = re.compile(r"\d+")
_STATE_REASON = "looks like training state"


class Proposal(NamedTuple):
    """A rule that would map or ignore `tensors` unmapped tensors; `likeness` of names is from 0 to 1."""

    rule: Rule | Ignore
    tensors: int
    likeness: float

    def lines(self) -> list[str]:
        """Return the rule as TOML lines after an empty line and a comment that marks it as a proposal."""
        lines = format_rule(self.rule) if isinstance(self.rule, Rule) else format_ignore(self.rule)
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
    """Propose rules for unmapped sources and unfilled targets, the most similar names first.

    Names that contain groups in braces are skipped, since a pattern cannot express them literally.
    """
    sources = [source for source in sources if is_literal(source.variable)]
    targets = {target: shape for target, shape in targets.items() if is_literal(target)}
    by_parts = [Proposal(rule, count, 1.0) for rule, count in propose_parts(sources, targets, scope)]
    taken = {scope + name for proposal in by_parts for name in _list_sources(proposal.rule)}
    filled = {name for proposal in by_parts if isinstance(proposal.rule, Rule) for name in proposal.rule.targets}
    sources = [source for source in sources if source.variable not in taken]
    targets = {target: shape for target, shape in targets.items() if target not in filled}
    states = [source for source in sources if _is_state(source.variable)]
    others = [source for source in sources if not _is_state(source.variable) and source.variable.startswith(scope)]
    pairs = _choose_pairs(_compare(others, targets, scope))
    proposals = by_parts + _generalize(pairs, others, targets, scope, names)
    endings = collections.Counter(_state_pattern(source.variable) for source in states)
    proposals += [Proposal(Ignore(pattern, _STATE_REASON), count, 1.0) for pattern, count in endings.items()]
    return proposals


def explain_nothing(sources: Sequence[Source], targets: Mapping[str, Shape]) -> str:
    """Return why nothing is proposed for unmapped sources and unfilled targets."""
    if not sources:
        return "every tensor of the checkpoint is assigned" + ("" if not targets else ", but targets are left")
    if not targets:
        return "every target is filled, so that the tensors that are left need an [[ignore]]"
    shapes = set(targets.values())
    fitting = [
        source
        for source in sources
        if any(_convert_shape(layout, source.shape) in shapes for layout in _iterate_layouts(source))
    ]
    if not fitting:
        return "no layout turns a tensor that is left into the shape of a target that is left"
    return f"{pluralize(len(fitting), 'tensor')} would fit a target by shape, but no names are similar"


def _list_sources(rule: Rule | Ignore) -> tuple[str, ...]:
    return rule.sources if isinstance(rule, Rule) else (rule.source,)


def _convert_shape(layout: str, shape: Shape) -> Shape | None:
    try:
        return get_layout(layout).target_shape(shape)
    except ValueError:
        return None


def _compare(sources: Sequence[Source], targets: Mapping[str, Shape], scope: str) -> Iterator[_Pair]:
    """Yield every pair of matching shapes with the similarity of its names."""
    by_shape: dict[Shape, list[str]] = collections.defaultdict(list)
    for target, shape in targets.items():
        by_shape[shape].append(target)
    compared = 0
    target_words = {target: _split(target) for target in targets}
    for source in sources:
        source_words = _split(source.variable.removeprefix(scope))
        paired: set[str] = set()
        for layout in _iterate_layouts(source):
            for target in by_shape.get(get_layout(layout).target_shape(source.shape), ()):
                compared += 1
                if target not in paired and compared <= MAX_PAIRS:
                    paired.add(target)
                    yield _Pair(source, target, layout, _measure_likeness(source_words, target_words[target]))


def _iterate_layouts(source: Source) -> Iterator[str]:
    """Yield the layouts that accept the rank of a source, the most likely first."""
    last = source.variable.rpartition("/")[2]
    for layout in (*_LAYOUTS_BY_LAST_PART.get(last, ()), "identity"):
        if get_layout(layout).rank in (None, len(source.shape)):
            yield layout
    ones = next((axis for axis, size in enumerate(source.shape) if size != 1), len(source.shape))
    letters = "ABIO"[-(len(source.shape) - ones) :] if ones < len(source.shape) <= ones + 4 else ""
    if ones and letters:  # GPT-2's kernels, and dense layers that are convolutions
        if len(letters) == 2:
            yield f"{'1' * ones}IO -> OI"
        yield f"{'1' * ones}{letters} -> {letters}"


def _split(name: str) -> tuple[str, ...]:
    """Return the words and numbers of a name, with TensorFlow's words replaced by PyTorch's."""
    pieces = re.split(r"[/.]", name)
    words: list[str] = []
    for piece in pieces:
        lowered = _SYNONYMS.get(piece.lower(), piece.lower())
        if lowered in _SYNONYMS.values():
            words.append(lowered)
        else:
            words += [_SYNONYMS.get(word, word) for word in re.findall(r"[a-z]+|\d+", lowered)]
    return tuple(words)


def _measure_likeness(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the similarity of two split names; their order counts, and different numbers or last words reduce it."""
    ratio = difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
    if _select_numbers(one) != _select_numbers(other):
        ratio *= 0.5
    return ratio if one[-1:] == other[-1:] else ratio * 0.7


def _select_numbers(words: Iterable[str]) -> list[str]:
    return [word for word in words if word.isdigit()]


def _choose_pairs(pairs: Iterable[_Pair]) -> list[_Pair]:
    """Return the most similar pairs such that no source and no target occurs twice."""
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


def _generalize(
    pairs: Sequence[_Pair], sources: Sequence[Source], targets: Mapping[str, Shape], scope: str, names: Names
) -> list[Proposal]:
    """Return one proposal for pairs that differ only in numbers, if its rule produces exactly these pairs."""
    groups: dict[Rule, list[_Pair]] = collections.defaultdict(list)
    for pair in pairs:
        groups[_write_rule(pair, scope)].append(pair)
    proposals = []
    for rule, group in groups.items():
        expected = {(pair.source.name, pair.target) for pair in group}
        rules = RuleSet(name="proposal", version="1", rules=(rule,), scope=scope, names=names)
        moves = draft(sources, rules, targets).moves
        if len(group) > 1 and {(move.source, move.target) for move in moves} == expected:
            proposals.append(Proposal(rule, len(group), sum(pair.likeness for pair in group) / len(group)))
        else:
            proposals += [
                Proposal(Rule(pair.source.variable.removeprefix(scope), pair.target, pair.layout), 1, pair.likeness)
                for pair in group
            ]
    return sorted(proposals, key=lambda proposal: -proposal.likeness)


def _write_rule(pair: _Pair, scope: str) -> Rule:
    """Return a rule for a pair, with a group for each number that occurs once in both names."""
    source, target = pair.source.variable.removeprefix(scope), pair.target
    shared = [number for number in dict.fromkeys(_NUMBER.findall(source)) if number in _NUMBER.findall(target)]
    for position, number in enumerate(shared):
        group = "{" + "nmk"[position] + "}" if position < 3 else number
        once = re.compile(rf"(?<!\d){number}(?!\d)")
        if len(once.findall(source)) == 1 and len(once.findall(target)) == 1:
            source, target = once.sub(group, source), once.sub(group, target)
    return Rule(source, target, pair.layout)


def _is_state(name: str) -> bool:
    """Return whether a variable looks like training state: a counter, or a slot, even if its variable is missing."""
    return name.rpartition("/")[2] in _COUNTERS or state_by_name(name)[1] is not None


def _state_pattern(name: str) -> str:
    """Return a pattern that matches variables with the same last part."""
    before, _, last = name.rpartition("/")
    return f"{{variable...}}/{last}" if before else last
