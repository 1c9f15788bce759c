"""Rules are proposed for unmapped tensors, by shape and similar names."""

from __future__ import annotations

import dataclasses

import pytest

from converter.errors import Shape
from converter.mapping.planning import Source, draft
from converter.mapping.proposals import Proposal, explain_nothing, propose
from converter.mapping.rules import Ignore, Rule, RuleSet
from converter.mapping.rules_file import parse_rules


def sources(shapes: dict[str, Shape]) -> list[Source]:
    """Return sources whose variables have the same names."""
    return [Source(name, shape, name) for name, shape in shapes.items()]


def collect_rules(proposals: list[Proposal]) -> set[Rule | Ignore]:
    """Return the proposed rules."""
    return {proposal.rule for proposal in proposals}


def test_similar_name_of_the_same_shape_is_proposed() -> None:
    """A dense kernel is proposed for the weight of the transposed shape with the most similar name."""
    unmapped = sources({"net/one/kernel": (4, 3), "net/two/kernel": (4, 3)})

    proposals = propose(unmapped, {"two.weight": (3, 4), "one.weight": (3, 4)})

    assert collect_rules(proposals) == {
        Rule("net/one/kernel", "one.weight", "dense"),
        Rule("net/two/kernel", "two.weight", "dense"),
    }


def test_pairs_that_differ_only_in_numbers_become_one_rule() -> None:
    """A number that occurs in both names becomes a group."""
    unmapped = sources({f"layer_{number}/gamma": (5,) for number in range(12)})

    (proposal,) = propose(unmapped, {f"layers.{number}.weight": (5,) for number in range(12)})

    assert proposal.rule == Rule("layer_{n}/gamma", "layers.{n}.weight")
    assert proposal.tensors == 12


def test_rule_that_would_match_more_than_its_pairs_is_not_generalized() -> None:
    """With a group, the rule would also match a source of a different shape."""
    unmapped = sources({"layer_1/w": (5,), "layer_2/w": (5,), "layer_9/w": (7,)})
    targets: dict[str, Shape] = {"layer.1.w": (5,), "layer.2.w": (5,), "layer.9.w": (8,)}

    rules = collect_rules(propose(unmapped, targets))

    rule_set = RuleSet(name="x", version="1", rules=tuple(rule for rule in rules if isinstance(rule, Rule)))
    assert len(draft(unmapped, rule_set, targets).moves) == 2


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
def test_most_common_layout_of_several_is_proposed(name: str, source: Shape, target: Shape, layout: str) -> None:
    """The last part of the name determines which layouts are tried first."""
    last = "running_mean" if name.endswith("mean") else "weight"

    (proposal,) = propose(sources({name: source}), {f"a.{last}": target})

    assert proposal.rule == Rule(name, f"a.{last}", layout)


def test_nothing_is_proposed_for_different_shapes_or_dissimilar_names() -> None:
    """A proposal needs both a matching shape and similar names."""
    assert propose(sources({"a/kernel": (4, 3)}), {"a.weight": (4, 4)}) == []
    assert propose(sources({"foo/w": (4,)}), {"bar.q": (4,)}) == []


def test_axis_of_size_1_is_dropped() -> None:
    """GPT-2's kernels are [1, in, out]."""
    (proposal,) = propose(sources({"h0/c_attn/w": (1, 16, 48)}), {"h.0.c_attn.weight": (48, 16)})

    assert proposal.rule == Rule("h0/c_attn/w", "h.0.c_attn.weight", "1IO -> OI")


def test_kernel_of_a_recurrent_cell_is_cut() -> None:
    """The layer's number and direction say which tensors it becomes; another number of inputs fits nothing."""
    cells = {f"rnn/{way}/cell_1/lstm_cell/{kind}": shape for way in ("fw", "bw") for kind, shape in CELL.items()}
    suffixes = ("l0", "l0_reverse", "l1", "l1_reverse")
    targets: dict[str, Shape] = {}
    for suffix in suffixes:
        targets |= {f"weight_ih_{suffix}": (16, 3), f"weight_hh_{suffix}": (16, 4), f"bias_ih_{suffix}": (16,)}

    rules = collect_rules(propose(sources(cells), targets))

    order = "G: i j f o -> i f j o"
    expected = ("weight_ih_l1", "weight_hh_l1")
    assert Rule("rnn/fw/cell_1/lstm_cell/kernel", expected, "IG -> GI", cut="I", order=order) in rules
    assert Rule("rnn/bw/cell_1/lstm_cell/bias", "bias_ih_l1_reverse", "G -> G", order=order) in rules
    assert propose(sources({"a/lstm_cell/kernel": (8, 16)}), targets) == []


@pytest.mark.parametrize(
    ("layer", "gates", "bias", "cut"),
    [
        ("lstm", 4, (16,), Rule("{c}/bias", "bias_ih_l{n}")),
        (
            "gru",
            3,
            (2, 12),
            Rule("{c}/bias", ("bias_ih_l{n}", "bias_hh_l{n}"), "BG -> G", cut="B", order="G: z r h -> r z h"),
        ),
    ],
)
def test_cell_of_keras_has_a_rule_for_each_of_its_tensors(layer: str, gates: int, bias: Shape, cut: Rule) -> None:
    """Two layers of one size; what PyTorch has no counterpart for, a GRU with one bias, is not proposed."""
    cells = {0: f"{layer}/{layer}_cell", 1: f"{layer}_1/{layer}_cell"}
    arrays: dict[str, Shape] = {}
    targets: dict[str, Shape] = {}
    for number, cell in cells.items():
        size = 4 * gates
        arrays |= {f"{cell}/kernel": (4, size), f"{cell}/recurrent_kernel": (4, size), f"{cell}/bias": bias}
        targets |= {f"{kind}_{way}_l{number}": (size, 4)[:axes] for kind, axes in KINDS for way in ("ih", "hh")}

    rules = collect_rules(propose(sources(arrays), targets))

    options = {"layout": "dense"} if gates == 4 else {"layout": "IG -> GI", "order": "G: z r h -> r z h"}
    expected = {
        Rule(f"{cell}/{kind}", f"weight_{way}_l{number}", **options)
        for number, cell in cells.items()
        for kind, way in (("kernel", "ih"), ("recurrent_kernel", "hh"))
    }
    for number, cell in cells.items():
        names = tuple(target.replace("{n}", str(number)) for target in cut.targets)
        expected.add(dataclasses.replace(cut, source=f"{cell}/bias", target=names if len(names) > 1 else names[0]))
    assert rules == expected
    one_bias = {name: (12,) if name.endswith("bias") and gates == 3 else shape for name, shape in arrays.items()}
    if gates == 3:
        assert not any(rule.order for rule in collect_rules(propose(sources(one_bias), targets)))


KINDS = (("weight", 2), ("bias", 1))
CELL: dict[str, Shape] = {"kernel": (7, 16), "bias": (16,)}


def test_query_key_and_value_are_joined() -> None:
    """Three kernels become one projection."""
    names = tuple(f"attention/{part}/kernel" for part in ("query", "key", "value"))

    rules = collect_rules(propose(sources(dict.fromkeys(names, (4, 4))), {"attention.in_proj_weight": (12, 4)}))

    assert rules == {Rule(names, "attention.in_proj_weight", "IO -> OI", join="O")}


@pytest.mark.parametrize(
    ("left", "targets", "token"),
    [
        ({}, {"t": (1,)}, "every tensor of the checkpoint is assigned"),
        ({"w": (1,)}, {}, "ignore"),
        ({"w": (2,)}, {"t": (1,)}, "no layout"),
        ({"foo/w": (4,)}, {"bar.q": (4,)}, "no names are similar"),
    ],
)
def test_empty_answer_has_its_reason(left: dict[str, Shape], targets: dict[str, Shape], token: str) -> None:
    """A sentence says what is missing."""
    assert propose(sources(left), targets) == []
    assert token in explain_nothing(sources(left), targets)


def test_training_state_is_proposed_to_be_ignored() -> None:
    """Slots are recognized by their last part, counters by their name."""
    unmapped = sources({"a/kernel/adam_m": (4, 3), "b/kernel/adam_m": (4, 3), "global_step": ()})

    assert collect_rules(propose(unmapped, {"a.weight": (3, 4)})) == {
        Ignore("{variable...}/adam_m", "looks like training state"),
        Ignore("global_step", "looks like training state"),
    }


def test_proposals_are_toml_with_a_comment() -> None:
    """The lines are valid rules, and comments mark them as proposals."""
    proposals = propose(sources({"a/kernel": (4, 3), "global_step": ()}), {"a.weight": (3, 4)})

    text = "\n".join(line for proposal in proposals for line in proposal.lines())

    assert text.count("# proposal: ") == 2
    assert parse_rules(text).rules == (Rule("a/kernel", "a.weight", "dense"),)


def test_scope_is_not_part_of_proposed_patterns() -> None:
    """The rule set adds its scope to patterns, and sources outside the scope are skipped."""
    unmapped = sources({"net/a/kernel": (4, 3), "other/a/kernel": (4, 3)})

    assert collect_rules(propose(unmapped, {"a.weight": (3, 4)}, scope="net/")) == {
        Rule("a/kernel", "a.weight", "dense")
    }
