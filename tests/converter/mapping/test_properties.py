"""Planning returns a plan or raises a `ConversionError`, whatever the names and shapes of a checkpoint are."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from converter.errors import ConversionError, Shape
from converter.families.search import FAMILIES, prepare
from converter.families.variables import Inventory, SourceVariable
from converter.mapping.planning import Source, plan
from converter.mapping.proposals import propose
from converter.model.architectures import CONFIGS
from converter.model.names import native_targets

from .. import networks

#: Names that match a rule of some family.
NAMES = [
    rule.source.replace("{bn}", "gamma").replace(group, block)
    for family in FAMILIES
    for rule in family.rules
    for group in ("{block}", "{fused1}", "{fused}", "{mbconv1}", "{mbconv}")
    for block in ("0", "1", "2", "1a", "1b", "2a")
    if group in rule.source or ("{" not in rule.source.replace("{bn}", ""))
]
#: Parts of arbitrary names.
PIECES = ["kernel", "bias", "", "optimizer", "ünï", "\x1b[2J", "0", "{x}", "ExponentialMovingAverage"]

names = st.one_of(
    st.sampled_from(NAMES),
    st.tuples(st.sampled_from(["a/", "b/"]), st.sampled_from(NAMES)).map("".join),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("/".join),
)
shapes = st.lists(st.sampled_from([0, 1, 3, 8, 16, 32]), max_size=5).map(tuple)


@given(st.dictionaries(names, shapes, max_size=40), st.sampled_from([None, "a", "", "x"]), st.booleans())
def test_any_names_and_shapes_result_in_a_plan_or_a_conversion_error(
    checkpoint: dict[str, Shape], option: str | None, is_head: bool
) -> None:
    """No checkpoint causes an unexpected exception."""
    variables = tuple(SourceVariable(name, shape, name, name) for name, shape in checkpoint.items())
    scope, head = (None, option) if is_head else (option, None)

    with contextlib.suppress(ConversionError):
        prepared = prepare(Inventory(variables, (), False), scope=scope, head=head)
        plan(prepared.selection.sources, prepared.rules, native_targets(prepared.config))


UNDAMAGED = {variable.name: variable.shape for variable in networks.variables(CONFIGS["efficientnetv2-b0"])}


@given(st.dictionaries(st.sampled_from(sorted(UNDAMAGED)), st.one_of(st.none(), shapes), max_size=4))
def test_damaged_network_results_in_a_plan_or_a_conversion_error(damage: dict[str, Shape | None]) -> None:
    """A published network in which up to four tensors are missing or have a wrong shape never causes a crash."""
    damaged = {name: damage.get(name, shape) for name, shape in UNDAMAGED.items()}
    variables = tuple(SourceVariable(name, shape, name, name) for name, shape in damaged.items() if shape is not None)

    with contextlib.suppress(ConversionError):
        prepared = prepare(Inventory(variables, (), False))
        planned = plan(prepared.selection.sources, prepared.rules, native_targets(prepared.config))
        assert {move.source for move in planned.moves} <= set(UNDAMAGED)


@given(st.dictionaries(names, shapes, max_size=20), st.dictionaries(names, shapes, max_size=20))
def test_proposals_use_each_source_at_most_once(sources: dict[str, Shape], targets: dict[str, Shape]) -> None:
    """The proposals together do not claim more tensors than there are."""
    proposals = propose([Source(name, shape, name) for name, shape in sources.items()], targets)

    assert sum(proposal.tensors for proposal in proposals) <= len(sources)
    assert all(0 <= proposal.likeness <= 1 for proposal in proposals)
