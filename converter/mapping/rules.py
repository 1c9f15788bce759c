"""Rules as data: how names of a checkpoint become names of a module. No model is known here.

A rule reads like a line of a table::

    blocks_{mbconv}/depthwise_conv2d/depthwise_kernel  ->  stages.{mbconv}.depthwise.conv.weight  (depthwise)

A group in braces matches one part of a name, without `/`; with dots, `{path...}`, it matches any number of parts.
A pattern has at most two groups with dots (see `patterns`).
A group that is a key of the rule set's `words` matches only the words listed there, and the target gets their
translation: with `words={"mbconv": {"10": "3.0"}}` the rule above maps `blocks_10/...` to `stages.3.0...`.
Everything else in a pattern is literal.

A rule with several targets cuts its source along an axis, and one with several sources joins them along an axis.
`planning` applies a rule set to the names and shapes of a checkpoint.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from .layout import Layout, combine, get_layout
from .patterns import Words, check_pattern, list_groups

#: The name of a variable that rules match: its path through the object graph, its full name, or its checkpoint key.
#: All three are the same in a checkpoint without object graph.
Names: TypeAlias = Literal["path", "full_name", "key"]
NAMES: tuple[Names, ...] = get_args(Names)

#: One pattern, or several in order.
Patterns: TypeAlias = str | tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A rule that maps sources matching `source` to `target` in `layout`, a name of `layout.NAMED` or spelled axes.

    With several targets, `cut` is the source's axis that is cut into a part for each of them.
    With several sources, `join` is the target's axis along which they are joined.
    `order` moves equal parts of an axis of each source, such as the gates of a recurrent cell.
    `scope` replaces the rule set's scope.
    """

    source: Patterns
    target: Patterns
    layout: str = "identity"
    cut: str | None = None
    join: str | None = None
    order: str | None = None
    scope: str | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The patterns of the sources."""
        return as_tuple(self.source)

    @property
    def targets(self) -> tuple[str, ...]:
        """The templates of the targets."""
        return as_tuple(self.target)

    @property
    def full_layout(self) -> Layout:
        """The layout with the order."""
        return get_layout(combine(self.layout, self.order))

    def __str__(self) -> str:
        """Return the patterns of the sources."""
        return " + ".join(self.sources)


@dataclasses.dataclass(frozen=True, slots=True)
class Ignore:
    """A rule that ignores sources matching `source`, for a stated reason; `scope` replaces the rule set's scope."""

    source: str
    reason: str
    scope: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Constant:
    """A rule that fills targets matching `target` with a `value` of a NumPy `dtype`, for a stated reason.

    A scalar fills the whole target. Several values fill as many equal parts of the target's first axis.
    """

    target: str
    value: float | tuple[float, ...]
    dtype: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Tied:
    """A rule that fills a target with another target's tensor, unless a rule or a constant fills it.

    `target` is a pattern, and `to` the name of the other target, with groups of the pattern.
    """

    target: str
    to: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """A table of rules; the constructor checks every rule.

    `names` selects which names patterns match.
    `scope` is the literal start of every source of a rule or an ignore, or several of which each is tried.
    """

    name: str
    version: str
    rules: tuple[Rule, ...]
    names: Names = "path"
    scope: Patterns = ""
    ignores: tuple[Ignore, ...] = ()
    constants: tuple[Constant, ...] = ()
    tied: tuple[Tied, ...] = ()
    words: Words = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise `ValueError` for an invalid rule."""
        for rule in self.rules:
            _check_rule(rule)
        for ignore in self.ignores:
            check_pattern(ignore.source)
        for constant in self.constants:
            check_pattern(constant.target)
            values = constant.value if isinstance(constant.value, tuple) else (constant.value,)
            if not values:
                raise ValueError(f"constant {constant.target!r} has no value")
            for value in values:
                if not _can_hold(np.dtype(constant.dtype), value):
                    raise ValueError(f"constant {constant.target!r}: {constant.dtype} cannot hold {value!r}")
        for tie in self.tied:
            check_pattern(tie.target)
            unknown = list_groups(tie.to) - list_groups(tie.target)
            if unknown:
                raise ValueError(f"tied {tie.target!r}: {tie.to!r} has unknown group {min(unknown)!r}")

    @property
    def scopes(self) -> tuple[str, ...]:
        """The literal starts of names, of which each is tried."""
        return as_tuple(self.scope)


def as_tuple(patterns: Patterns) -> tuple[str, ...]:
    """Return one pattern, or several, as a tuple."""
    return (patterns,) if isinstance(patterns, str) else patterns


def _check_rule(rule: Rule) -> None:
    """Raise `ValueError` if a layout is not valid, a target uses a group that a source lacks, or an axis is unknown."""
    shown = f"rule {str(rule)!r}"
    if not rule.sources or not rule.targets:
        raise ValueError(f"{shown} has an empty list of {'targets' if rule.sources else 'sources'}")
    for source in rule.sources:
        check_pattern(source)
        for target in rule.targets:
            unknown = list_groups(target) - list_groups(source)
            if unknown:
                raise ValueError(f"{shown}: target {target!r} has unknown group {min(unknown)!r}")
        if list_groups(source) != list_groups(rule.sources[0]):
            raise ValueError(f"{shown}: all sources need the same groups")
    for what, patterns in (("source", rule.sources), ("target", rule.targets)):
        twice = next((pattern for pattern in patterns if patterns.count(pattern) > 1), None)
        if twice is not None:
            raise ValueError(f"{shown} has the {what} {twice!r} twice")
    try:
        layout = rule.full_layout
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from None
    if len(rule.sources) > 1 and len(rule.targets) > 1:
        raise ValueError(f"{shown} has several sources and several targets: use two rules")
    _check_axis(rule, "cut", "target", layout.source.replace("1", ""))
    _check_axis(rule, "join", "source", "".join(layout.target))
    source_axes, target_axes = layout.source.replace("1", ""), "".join(layout.target)
    lonely = sorted(
        (set(source_axes) - set(target_axes) - {rule.cut}) | (set(target_axes) - set(source_axes) - {rule.join})
    )
    if lonely:
        raise ValueError(
            f"{shown}: axis {lonely[0]} is on one side of {layout.name} only; write 1 for an axis of size 1"
        )
    if rule.join is not None and rule.join not in layout.target:
        raise ValueError(f"{shown}: join is {rule.join!r}, which the layout {layout.name} merges with another axis")


def _check_axis(rule: Rule, key: Literal["cut", "join"], what: Literal["target", "source"], axes: str) -> None:
    """Raise `ValueError` unless the rule has an axis, one of `axes`, exactly if it has several names."""
    shown = f"rule {str(rule)!r}"
    axis, patterns = (rule.cut, rule.targets) if key == "cut" else (rule.join, rule.sources)
    layout = rule.full_layout
    if len(patterns) > 1 and axis is None:
        raise ValueError(f"{shown} has several {what}s and no {key}, the axis along which to {key}")
    if len(patterns) == 1 and axis is not None:
        raise ValueError(f"{shown} has a {key}, but only one {what}")
    if axis is None:
        return
    if layout.rank is None:
        raise ValueError(f"{shown}: {key} needs a layout spelled as axes, such as IO -> OI")
    if len(axis) != 1 or axis not in axes:
        raise ValueError(f"{shown}: {key} is {axis!r}, expected an axis of {layout.name}: {', '.join(axes)}")
    if axis == layout.ordered:
        raise ValueError(f"{shown}: {key} and order use the same axis {axis}: list the {what}s in that order instead")


def _can_hold(dtype: np.dtype[Any], value: float) -> bool:
    """Return whether a dtype can represent a number, if necessary rounded to its precision."""
    if abs(value) > sys.float_info.max and value not in (math.inf, -math.inf):
        return False  # an int beyond the range of every dtype
    if dtype.kind == "f":
        return not math.isfinite(value) or abs(value) <= np.finfo(dtype).max
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return math.isfinite(value) and value == int(value) and int(least) <= value <= int(most)
