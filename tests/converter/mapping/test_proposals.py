"""Rules proposed for what is left over: by shape and names, joined where numbers alone differ, and never applied."""

from __future__ import annotations

import pytest

from converter.errors import Shape
from converter.mapping.proposals import Proposal, propose
from converter.mapping.rules import Ignore, Rule, RuleSet, Source, draft
from converter.mapping.rules_file import parse_rules


def sources(shapes: dict[str, Shape]) -> list[Source]:
    """Give sources under their own names."""
    return [Source(name, shape, name) for name, shape in shapes.items()]


def rules_of(proposals: list[Proposal]) -> set[Rule | Ignore]:
    """Give what is proposed."""
    return {proposal.rule for proposal in proposals}


def test_shape_and_names_make_a_proposal() -> None:
    """A dense kernel of the right shape goes to the weight whose name is like its own, transposed."""
    left = sources({"net/one/kernel": (4, 3), "net/two/kernel": (4, 3)})

    proposals = propose(left, {"two.weight": (3, 4), "one.weight": (3, 4)})

    assert rules_of(proposals) == {
        Rule("net/one/kernel", "one.weight", "dense"),
        Rule("net/two/kernel", "two.weight", "dense"),
    }


def test_pairs_that_differ_in_numbers_become_one_rule() -> None:
    """A number that source and target share becomes a group."""
    left = sources({f"layer_{number}/gamma": (5,) for number in range(12)})

    (proposal,) = propose(left, {f"layers.{number}.weight": (5,) for number in range(12)})

    assert proposal.rule == Rule("layer_{n}/gamma", "layers.{n}.weight")
    assert proposal.tensors == 12


def test_group_that_would_take_more_than_its_pairs_is_not_made() -> None:
    """A pattern that fits another source as well would be another rule than what was found."""
    left = sources({"layer_1/w": (5,), "layer_2/w": (5,), "layer_9/w": (7,)})
    targets: dict[str, Shape] = {"layer.1.w": (5,), "layer.2.w": (5,), "layer.9.w": (8,)}

    rules = rules_of(propose(left, targets))

    joined = RuleSet(name="x", version="1", rules=tuple(rule for rule in rules if isinstance(rule, Rule)))
    assert len(draft(left, joined, targets).moves) == 2


@pytest.mark.parametrize(
    ("name", "source", "target", "layout"),
    [
        ("a/kernel", (3, 3, 4, 8), (8, 4, 3, 3), "conv2d"),
        ("a/depthwise_kernel", (3, 3, 8, 1), (8, 1, 3, 3), "depthwise"),
        ("a/kernel", (5, 4, 8), (8, 4, 5), "conv1d"),
        ("a/kernel", (3, 3, 8, 4), (4, 8, 3, 3), "conv2d"),
        ("a/kernel", (6, 6), (6, 6), "dense"),
        ("a/moving_mean", (6,), (6,), "identity"),
    ],
)
def test_layout_is_proposed_by_what_the_source_is(name: str, source: Shape, target: Shape, layout: str) -> None:
    """Of several layouts that fit a shape the usual one of such a tensor is proposed."""
    last = "running_mean" if name.endswith("mean") else "weight"

    (proposal,) = propose(sources({name: source}), {f"a.{last}": target})

    assert proposal.rule == Rule(name, f"a.{last}", layout)


def test_nothing_is_proposed_for_other_shapes_or_quite_other_names() -> None:
    """A guess needs a shape that fits and names with something in common."""
    assert propose(sources({"a/kernel": (4, 3)}), {"a.weight": (4, 4)}) == []
    assert propose(sources({"foo/w": (4,)}), {"bar.q": (4,)}) == []


def test_state_of_a_training_is_proposed_to_be_ignored() -> None:
    """Slots by their last part, and counters by their name."""
    left = sources({"a/kernel/adam_m": (4, 3), "b/kernel/adam_m": (4, 3), "global_step": ()})

    assert rules_of(propose(left, {"a.weight": (3, 4)})) == {
        Ignore("{variable...}/adam_m", "looks like the state of a training"),
        Ignore("global_step", "looks like the state of a training"),
    }


def test_proposals_are_toml_marked_as_proposals() -> None:
    """Pasted into a file they are rules; a comment says what they were."""
    proposals = propose(sources({"a/kernel": (4, 3), "global_step": ()}), {"a.weight": (3, 4)})

    text = "\n".join(line for proposal in proposals for line in proposal.lines())

    assert text.count("# proposal: 1 tensor, likeness ") == 2
    assert parse_rules(text).rules == (Rule("a/kernel", "a.weight", "dense"),)


def test_scope_is_left_out_of_proposed_patterns() -> None:
    """A rule set with a scope has patterns under it, and what is outside is no business of theirs."""
    left = sources({"net/a/kernel": (4, 3), "other/a/kernel": (4, 3)})

    assert rules_of(propose(left, {"a.weight": (3, 4)}, scope="net/")) == {Rule("a/kernel", "a.weight", "dense")}
