"""Whatever a checkpoint's names and shapes are, planning ends in a plan or in an error of ours."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from converter.errors import ConversionError, Shape
from converter.families.search import FAMILIES, prepare
from converter.families.variables import Inventory, SourceVariable
from converter.mapping.proposals import propose
from converter.mapping.rules import Source, plan
from converter.model.config import CONFIGS
from converter.model.names import native_targets

from .. import networks

#: Names of every family, as its own rules spell them, and pieces that are none.
NAMES = [
    rule.source.replace("{bn}", "gamma").replace(group, block)
    for family in FAMILIES
    for rule in family.rules
    for group in ("{block}", "{fused1}", "{fused}", "{mbconv1}", "{mbconv}")
    for block in ("0", "1", "2", "1a", "1b", "2a")
    if group in rule.source or ("{" not in rule.source.replace("{bn}", ""))
]
PIECES = ["kernel", "bias", "", "optimizer", "ünï", "\x1b[2J", "0", "{x}", "ExponentialMovingAverage"]

names = st.one_of(
    st.sampled_from(NAMES),
    st.tuples(st.sampled_from(["a/", "b/"]), st.sampled_from(NAMES)).map("".join),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("/".join),
)
shapes = st.lists(st.sampled_from([0, 1, 3, 8, 16, 32]), max_size=5).map(tuple)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, shapes, max_size=40), st.sampled_from([None, "a", "", "x"]), st.booleans())
def test_any_names_and_shapes_give_a_plan_or_our_error(
    found: dict[str, Shape], option: str | None, asked: bool
) -> None:
    """No checkpoint, however odd, ends in an error of Python's own."""
    variables = tuple(SourceVariable(name, shape, name, name) for name, shape in found.items())
    scope, head = (None, option) if asked else (option, None)

    with contextlib.suppress(ConversionError):
        prepared = prepare(Inventory(variables, (), False), scope=scope, head=head)
        plan(prepared.selection.sources, prepared.rules, native_targets(prepared.config))


WHOLE = {variable.name: variable.shape for variable in networks.variables(CONFIGS["efficientnetv2-b0"])}


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(WHOLE)), st.one_of(st.none(), shapes), max_size=4))
def test_damaged_network_gives_a_plan_or_our_error(damage: dict[str, Shape | None]) -> None:
    """A whole network of which a few tensors are missing or have other shapes is never misread with a crash."""
    left = {name: damage.get(name, shape) for name, shape in WHOLE.items()}
    variables = tuple(SourceVariable(name, shape, name, name) for name, shape in left.items() if shape is not None)

    with contextlib.suppress(ConversionError):
        prepared = prepare(Inventory(variables, (), False))
        planned = plan(prepared.selection.sources, prepared.rules, native_targets(prepared.config))
        assert {move.source for move in planned.moves} <= set(WHOLE)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, shapes, max_size=20), st.dictionaries(names, shapes, max_size=20))
def test_proposals_take_each_source_and_fill_each_target_once(
    sources: dict[str, Shape], targets: dict[str, Shape]
) -> None:
    """A proposal counts the tensors it takes, and together they take no more than there are."""
    proposals = propose([Source(name, shape, name) for name, shape in sources.items()], targets)

    assert sum(proposal.tensors for proposal in proposals) <= len(sources)
    assert all(0 <= proposal.likeness <= 1 for proposal in proposals)
