"""The engine: patterns, words, and an account of every tensor."""

from __future__ import annotations

import pickle

import pytest

from converter.errors import Ambiguity, MappingError, Mismatch, Missing, Shape, Unmapped
from converter.mapping.rules import Constant, Filled, Ignore, Ignored, Move, Plan, Rule, RuleSet, Source, plan


def rule_set(*rules: Rule, **options: object) -> RuleSet:
    """Make a rule set of rules and options."""
    return RuleSet(name="test", version="1", rules=rules, **options)  # type: ignore[arg-type]  # passed through


def planned(rules: RuleSet, sources: dict[str, Shape], targets: dict[str, Shape]) -> Plan:
    """Plan with every source under its own name."""
    return plan([Source(name, shape, name) for name, shape in sources.items()], rules, targets)


def refused(rules: RuleSet, sources: dict[str, Shape], targets: dict[str, Shape]) -> MappingError:
    """Plan what cannot be planned, and give the error."""
    with pytest.raises(MappingError) as caught:
        planned(rules, sources, targets)
    return caught.value


def test_rule_sends_a_source_to_its_target() -> None:
    """One rule, one tensor: names, shapes and layout are in the plan."""
    rules = rule_set(Rule("stem/kernel", "stem.weight", "conv2d"))

    result = planned(rules, {"stem/kernel": (3, 3, 1, 8)}, {"stem.weight": (8, 1, 3, 3)})

    assert result == Plan((Move("stem/kernel", (3, 3, 1, 8), "conv2d", "stem.weight", (8, 1, 3, 3)),), (), ())


def test_group_stands_for_one_part_of_a_name() -> None:
    """A group matches anything but a slash, and the target gets it."""
    rules = rule_set(Rule("{layer}/bias", "{layer}.bias"))

    result = planned(rules, {"one/bias": (1,), "two/bias": (2,)}, {"two.bias": (2,), "one.bias": (1,)})
    error = refused(rules, {"one/inner/bias": (1,)}, {})

    assert [(move.source, move.target) for move in result.moves] == [("two/bias", "two.bias"), ("one/bias", "one.bias")]
    assert [finding.name for finding in error.unmapped] == ["one/inner/bias"]


def test_group_with_dots_stands_for_any_number_of_parts() -> None:
    """`{path...}` spans slashes."""
    rules = rule_set(Rule("{path...}/bias", "bias"))

    result = planned(rules, {"one/two/three/bias": ()}, {"bias": ()})

    assert result.moves[0].source == "one/two/three/bias"


def test_group_with_words_matches_only_these_and_translates_them() -> None:
    """A group named in the words stands for those words; `block_10` is not `block_1` and a 0."""
    rules = rule_set(Rule("block_{block}/w", "stages.{block}.w"), words={"block": {"1": "0.0", "10": "3.1"}})

    result = planned(rules, {"block_1/w": (), "block_10/w": ()}, {"stages.0.0.w": (), "stages.3.1.w": ()})
    error = refused(rules, {"block_2/w": ()}, {})

    assert [move.source for move in result.moves] == ["block_1/w", "block_10/w"]
    assert error.unmapped == (Unmapped("block_2/w", ()),)


def test_group_without_words_matches_nothing() -> None:
    """An empty list of words makes a rule that never applies."""
    rules = rule_set(Rule("block_{block}", "b"), words={"block": {}})

    error = refused(rules, {"block_": ()}, {"b": ()})

    assert error.unmapped == (Unmapped("block_", ()),)


def test_pattern_is_literal_outside_its_groups() -> None:
    """Dots and stars of a name mean themselves."""
    rules = rule_set(Rule("a.b*", "t"))

    assert planned(rules, {"a.b*": ()}, {"t": ()}).moves
    assert refused(rules, {"axbb": ()}, {"t": ()}).unmapped


def test_scope_is_literal_whatever_it_holds() -> None:
    """A scope with braces, as a hostile checkpoint may have, matches itself only."""
    rules = rule_set(Rule("w", "t"), scope="{x}/")

    assert planned(rules, {"{x}/w": ()}, {"t": ()}).moves
    assert refused(rules, {"other/w": ()}, {"t": ()}).unmapped


def test_rules_read_the_variable_and_the_plan_keeps_the_name() -> None:
    """A moving average goes its variable's way under its own name."""
    rules = rule_set(Rule("w", "t"))

    result = plan([Source("w/ExponentialMovingAverage", (), "w")], rules, {"t": ()})

    assert result.moves[0].source == "w/ExponentialMovingAverage"


def test_ignored_source_keeps_its_reason() -> None:
    """What is left out is listed by name, with what was set aside before."""
    rules = rule_set(ignores=(Ignore("{variable...}/Adam", "slot"),))

    result = plan([Source("a/w/Adam", (), "a/w/Adam")], rules, {}, set_aside=[Ignored("a/v", "twin")])

    assert result.ignored == (Ignored("a/v", "twin"), Ignored("a/w/Adam", "slot"))


def test_constant_fills_every_target_that_fits() -> None:
    """A target that no source holds gets its stated value."""
    rules = rule_set(constants=(Constant("{layer...}.count", 0, "int64", "not stored"),))

    result = planned(rules, {}, {"a.b.count": (), "c.count": ()})

    assert result.constants == (
        Filled("a.b.count", 0, "int64", "not stored"),
        Filled("c.count", 0, "int64", "not stored"),
    )


def test_source_without_rule_is_reported_as_unmapped() -> None:
    """A tensor nobody asked for stops the conversion; the same with a reason to ignore it does not."""
    rules = rule_set(Rule("w", "t"))

    error = refused(rules, {"w": (), "extra": (5,)}, {"t": ()})

    assert error.unmapped == (Unmapped("extra", (5,)),)
    assert "unmapped: extra [5]" in str(error)
    relaxed = rule_set(Rule("w", "t"), ignores=(Ignore("extra", "not needed"),))
    assert planned(relaxed, {"w": (), "extra": (5,)}, {"t": ()}).ignored == (Ignored("extra", "not needed"),)


def test_source_for_a_target_the_model_lacks_is_reported_with_it() -> None:
    """A rule may lead to a target that this model has not."""
    rules = rule_set(Rule("{name}", "{name}"))

    error = refused(rules, {"bias": (1,)}, {})

    assert error.unmapped == (Unmapped("bias", (1,), "bias"),)
    assert "bias [1] would become bias, which the model does not have" in str(error)


def test_missing_target_names_its_source_and_close_ones() -> None:
    """A target that nothing fills says which name it wants, and which unused names are like it."""
    rules = rule_set(Rule("block_{block}/kernel", "stages.{block}.weight"), words={"block": {"3": "1.2"}}, scope="net/")

    error = refused(rules, {"net/block_3/kernal": (2,), "unlike": ()}, {"stages.1.2.weight": (2,)})

    assert error.missing == (Missing("stages.1.2.weight", (2,), ("net/block_3/kernel",), ("net/block_3/kernal",)),)
    assert "missing: stages.1.2.weight [2] from net/block_3/kernel; close names: net/block_3/kernal" in str(error)


def test_mismatched_shapes_are_reported_both() -> None:
    """A shape that becomes another than the model's is an error; the same numbers in the right order are not."""
    rules = rule_set(Rule("w", "t", "dense"))

    error = refused(rules, {"w": (3, 4)}, {"t": (3, 4)})

    assert error.mismatched == (Mismatch("w", (3, 4), "dense", "t", (4, 3), (3, 4)),)
    assert "mismatched: w [3, 4] becomes [4, 3], but t is [3, 4]" in str(error)
    assert planned(rules, {"w": (4, 3)}, {"t": (3, 4)}).moves


def test_rank_that_a_layout_cannot_take_is_a_mismatch() -> None:
    """A vector where a kernel should be is found before anything is read."""
    rules = rule_set(Rule("w", "t", "conv2d"))

    error = refused(rules, {"w": (4,)}, {"t": (4,)})

    assert error.mismatched == (Mismatch("w", (4,), "conv2d", "t", None, (4,)),)
    assert "w [4] has not the axes of layout conv2d, but t is [4]" in str(error)


def test_two_rules_for_one_name_are_reported_as_ambiguous() -> None:
    """Which of two rules is meant is not guessed, also when one of them ignores."""
    rules = rule_set(Rule("w", "t"), Rule("{any}", "u"), ignores=(Ignore("w", "spare"),))

    error = refused(rules, {"w": ()}, {})

    assert error.ambiguous == (Ambiguity("w", ("the rule w (to t)", "the rule {any} (to u)", "the ignore w (spare)")),)


def test_two_sources_for_one_target_are_reported_as_ambiguous() -> None:
    """A target is filled once; each of the sources alone would do."""
    rules = rule_set(Rule("a", "t"), Rule("b", "t"))

    error = refused(rules, {"a": (), "b": ()}, {"t": ()})

    assert error.ambiguous == (Ambiguity("t", ("a", "b")),)
    assert planned(rules, {"a": ()}, {"t": ()}).moves
    assert planned(rules, {"b": ()}, {"t": ()}).moves


def test_source_for_a_constant_is_reported_as_ambiguous() -> None:
    """A constant fills only what nothing else does."""
    rules = rule_set(Rule("a", "t"), constants=(Constant("t", 0, "int64", "why"),))

    assert refused(rules, {"a": ()}, {"t": ()}).ambiguous == (Ambiguity("t", ("a", "the constant 0")),)
    assert planned(rules, {}, {"t": ()}).constants


def test_error_lists_every_finding_of_every_kind() -> None:
    """One attempt shows all that is wrong, one finding a line, headed by the counts."""
    rules = rule_set(Rule("a", "t"), Rule("b", "t"), Rule("w", "w"), Rule("gone", "gone"))

    error = refused(rules, {"a": (), "b": (), "w": (2,), "x": (), "y": ()}, {"t": (), "w": (3,), "gone": ()})

    lines = str(error).splitlines()
    assert lines[0] == "the checkpoint and the model do not fit: 2 unmapped, 1 missing, 1 mismatched, 1 ambiguous"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "unmapped",
        "unmapped",
        "missing",
        "mismatched",
        "ambiguous",
    ]


def test_mapping_error_survives_pickling() -> None:
    """An error that crosses a process boundary keeps its findings."""
    error = refused(rule_set(Rule("w", "t")), {"x": (1,)}, {"t": ()})

    copy = pickle.loads(pickle.dumps(error))

    assert (copy.unmapped, copy.missing, str(copy)) == (error.unmapped, error.missing, str(error))


def test_names_cannot_reach_a_terminal_as_control_characters() -> None:
    """A hostile name is shown escaped."""
    error = refused(rule_set(), {"w\x1b[2J\nfake": ()}, {})

    assert str(error).splitlines()[1:] == [r"  unmapped: w\x1b[2J\nfake []"]


def test_rule_set_rejects_an_unknown_layout() -> None:
    """A layout is one of the named ones, and the error names them."""
    with pytest.raises(ValueError, match="unknown layout 'conv4d', known are identity, conv2d, depthwise, dense"):
        rule_set(Rule("a", "b", "conv4d"))
    assert rule_set(Rule("a", "b", "conv2d"))


def test_rule_set_rejects_a_target_with_an_unknown_group() -> None:
    """A target can only use what its source has matched."""
    with pytest.raises(ValueError, match="unknown group 'block'"):
        rule_set(Rule("a/{layer}", "{layer}.{block}"))
    assert rule_set(Rule("a/{layer}/{block}", "{layer}.{block}"))


def test_rule_set_rejects_a_group_that_stands_twice() -> None:
    """One group cannot stand for two parts."""
    with pytest.raises(ValueError, match="has a group twice"):
        rule_set(Rule("{a}/{a}", "t"))
    assert rule_set(Rule("{a}/{b}", "t"))
