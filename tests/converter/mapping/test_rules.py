"""Rules map sources to targets, and account for every tensor."""

from __future__ import annotations

import pickle

import pytest

from converter.errors import Ambiguity, MappingError, Mismatch, Missing, Shape, Unmapped
from converter.mapping.moves import Move
from converter.mapping.planning import Filled, Ignored, Plan, Source, plan
from converter.mapping.rules import Constant, Ignore, Rule, RuleSet


def rule_set(*rules: Rule, **options: object) -> RuleSet:
    """Return a rule set."""
    return RuleSet(name="test", version="1", rules=rules, **options)  # type: ignore[arg-type]  # passed through


def make_plan(rules: RuleSet, sources: dict[str, Shape], targets: dict[str, Shape]) -> Plan:
    """Return the plan for sources whose variables have the same names."""
    return plan([Source(name, shape, name) for name, shape in sources.items()], rules, targets)


def catch_error(rules: RuleSet, sources: dict[str, Shape], targets: dict[str, Shape]) -> MappingError:
    """Return the error of planning."""
    with pytest.raises(MappingError) as caught:
        make_plan(rules, sources, targets)
    return caught.value


def test_rule_maps_a_source_to_its_target() -> None:
    """The plan contains names, shapes and the layout."""
    rules = rule_set(Rule("stem/kernel", "stem.weight", "conv2d"))

    result = make_plan(rules, {"stem/kernel": (3, 3, 1, 8)}, {"stem.weight": (8, 1, 3, 3)})

    assert result == Plan((Move("stem/kernel", (3, 3, 1, 8), "conv2d", "stem.weight", (8, 1, 3, 3)),), (), ())


def test_group_matches_one_part_of_a_name() -> None:
    """A group matches anything except a slash, and its text replaces the group of the target."""
    rules = rule_set(Rule("{layer}/bias", "{layer}.bias"))

    result = make_plan(rules, {"one/bias": (1,), "two/bias": (2,)}, {"two.bias": (2,), "one.bias": (1,)})
    error = catch_error(rules, {"one/inner/bias": (1,)}, {})

    assert [(move.source, move.target) for move in result.moves] == [("two/bias", "two.bias"), ("one/bias", "one.bias")]
    assert [finding.name for finding in error.unmapped] == ["one/inner/bias"]


def test_group_with_dots_matches_any_number_of_parts() -> None:
    """`{path...}` matches slashes too."""
    rules = rule_set(Rule("{path...}/bias", "bias"))

    result = make_plan(rules, {"one/two/three/bias": ()}, {"bias": ()})

    assert result.moves[0].source == "one/two/three/bias"


def test_group_with_words_matches_only_these_words_and_translates_them() -> None:
    """The group matches whole words: `block_10` is not `block_1` followed by a 0."""
    rules = rule_set(Rule("block_{block}/w", "stages.{block}.w"), words={"block": {"1": "0.0", "10": "3.1"}})

    result = make_plan(rules, {"block_1/w": (), "block_10/w": ()}, {"stages.0.0.w": (), "stages.3.1.w": ()})
    error = catch_error(rules, {"block_2/w": ()}, {})

    assert [move.source for move in result.moves] == ["block_1/w", "block_10/w"]
    assert error.unmapped == (Unmapped("block_2/w", ()),)


def test_group_with_an_empty_list_of_words_matches_nothing() -> None:
    """The rule never applies."""
    rules = rule_set(Rule("block_{block}", "b"), words={"block": {}})

    error = catch_error(rules, {"block_": ()}, {"b": ()})

    assert error.unmapped == (Unmapped("block_", ()),)


def test_pattern_is_literal_outside_groups() -> None:
    """Dots and stars have no special meaning."""
    rules = rule_set(Rule("a.b*", "t"))

    assert make_plan(rules, {"a.b*": ()}, {"t": ()}).moves
    assert catch_error(rules, {"axbb": ()}, {"t": ()}).unmapped


def test_scope_is_literal() -> None:
    """A scope with braces, as a hostile checkpoint may contain, matches only itself."""
    rules = rule_set(Rule("w", "t"), scope="{x}/")

    assert make_plan(rules, {"{x}/w": ()}, {"t": ()}).moves
    assert catch_error(rules, {"other/w": ()}, {"t": ()}).unmapped


def test_rules_match_the_variable_and_the_plan_has_the_tensor_name() -> None:
    """A moving average is mapped like its variable and listed under its own name."""
    rules = rule_set(Rule("w", "t"))

    result = plan([Source("w/ExponentialMovingAverage", (), "w")], rules, {"t": ()})

    assert result.moves[0].source == "w/ExponentialMovingAverage"


def test_ignored_source_keeps_its_reason() -> None:
    """Ignored sources are sorted by name, together with those that were set aside before."""
    rules = rule_set(ignores=(Ignore("{variable...}/Adam", "slot"),))

    result = plan([Source("a/w/Adam", (), "a/w/Adam")], rules, {}, set_aside=[Ignored("a/v", "twin")])

    assert result.ignored == (Ignored("a/v", "twin"), Ignored("a/w/Adam", "slot"))


def test_constant_fills_every_matching_target() -> None:
    """The plan lists each target with its value and reason."""
    rules = rule_set(constants=(Constant("{layer...}.count", 0, "int64", "not stored"),))

    result = make_plan(rules, {}, {"a.b.count": (), "c.count": ()})

    assert result.constants == (
        Filled("a.b.count", 0, "int64", "not stored"),
        Filled("c.count", 0, "int64", "not stored"),
    )


def test_source_without_rule_is_unmapped() -> None:
    """The tensor is an error unless an ignore matches it."""
    rules = rule_set(Rule("w", "t"))

    error = catch_error(rules, {"w": (), "extra": (5,)}, {"t": ()})

    assert error.unmapped == (Unmapped("extra", (5,)),)
    relaxed = rule_set(Rule("w", "t"), ignores=(Ignore("extra", "not needed"),))
    assert make_plan(relaxed, {"w": (), "extra": (5,)}, {"t": ()}).ignored == (Ignored("extra", "not needed"),)


def test_source_of_a_target_that_does_not_exist_is_unmapped() -> None:
    """The finding contains the target of the rule."""
    rules = rule_set(Rule("{name}", "{name}"))

    error = catch_error(rules, {"bias": (1,)}, {})

    assert error.unmapped == (Unmapped("bias", (1,), "bias"),)


def test_missing_target_has_its_expected_source_and_close_names() -> None:
    """The finding contains the name of the source, and similar names of unused sources."""
    rules = rule_set(Rule("block_{block}/kernel", "stages.{block}.weight"), words={"block": {"3": "1.2"}}, scope="net/")

    error = catch_error(rules, {"net/block_3/kernal": (2,), "unlike": ()}, {"stages.1.2.weight": (2,)})

    assert error.missing == (Missing("stages.1.2.weight", (2,), ("net/block_3/kernel",), ("net/block_3/kernal",)),)


def test_mismatch_has_both_shapes() -> None:
    """A converted shape different from the target's is an error; the right order of sizes is accepted."""
    rules = rule_set(Rule("w", "t", "dense"))

    error = catch_error(rules, {"w": (3, 4)}, {"t": (3, 4)})

    assert error.mismatched == (Mismatch("w", (3, 4), "dense", "t", (4, 3), (3, 4)),)
    assert make_plan(rules, {"w": (4, 3)}, {"t": (3, 4)}).moves


def test_rank_that_a_layout_does_not_accept_is_a_mismatch() -> None:
    """The finding has no converted shape."""
    rules = rule_set(Rule("w", "t", "conv2d"))

    error = catch_error(rules, {"w": (4,)}, {"t": (4,)})

    assert error.mismatched == (Mismatch("w", (4,), "conv2d", "t", None, (4,)),)


def test_several_rules_for_one_source_are_ambiguous() -> None:
    """The finding lists all rules in order, including ignores."""
    rules = rule_set(Rule("w", "t"), Rule("{any}", "u"), ignores=(Ignore("w", "spare"),))

    error = catch_error(rules, {"w": ()}, {})

    (finding,) = error.ambiguous
    assert finding.name == "w"
    assert [token in text for token, text in zip(("t", "u", "spare"), finding.candidates, strict=True)] == [True] * 3


def test_two_sources_for_one_target_are_ambiguous() -> None:
    """Each of the sources alone is accepted."""
    rules = rule_set(Rule("a", "t"), Rule("b", "t"))

    error = catch_error(rules, {"a": (), "b": ()}, {"t": ()})

    assert error.ambiguous == (Ambiguity("t", ("a", "b")),)
    assert make_plan(rules, {"a": ()}, {"t": ()}).moves
    assert make_plan(rules, {"b": ()}, {"t": ()}).moves


def test_source_for_the_target_of_a_constant_is_ambiguous() -> None:
    """The constant alone is accepted."""
    rules = rule_set(Rule("a", "t"), constants=(Constant("t", 0, "int64", "why"),))

    (finding,) = catch_error(rules, {"a": ()}, {"t": ()}).ambiguous

    assert (finding.name, finding.candidates[0], len(finding.candidates)) == ("t", "a", 2)
    assert make_plan(rules, {}, {"t": ()}).constants


def test_error_lists_every_finding_of_every_kind() -> None:
    """The attributes list all problems at once, and the message has a line for each."""
    rules = rule_set(Rule("a", "t"), Rule("b", "t"), Rule("w", "w"), Rule("gone", "gone"))

    error = catch_error(rules, {"a": (), "b": (), "w": (2,), "x": (), "y": ()}, {"t": (), "w": (3,), "gone": ()})

    findings = [error.unmapped, error.missing, error.mismatched, error.ambiguous]
    assert [len(kind) for kind in findings] == [2, 1, 1, 1]
    assert len(str(error).splitlines()) == 1 + 5


def test_mapping_error_survives_pickling() -> None:
    """The unpickled error has the same findings and message."""
    error = catch_error(rule_set(Rule("w", "t")), {"x": (1,)}, {"t": ()})

    copy = pickle.loads(pickle.dumps(error))

    assert (copy.unmapped, copy.missing, str(copy)) == (error.unmapped, error.missing, str(error))


def test_control_characters_of_names_are_escaped() -> None:
    """A hostile name cannot send escape sequences to a terminal."""
    error = catch_error(rule_set(), {"w\x1b[2J\nfake": ()}, {})

    assert r"w\x1b[2J\nfake" in str(error)
    assert str(error).count("\n") == 1


def test_rule_set_rejects_an_unknown_layout() -> None:
    """The error names the layout; a known one is accepted."""
    with pytest.raises(ValueError, match="conv4d"):
        rule_set(Rule("a", "b", "conv4d"))
    assert rule_set(Rule("a", "b", "conv2d"))


def test_rule_set_rejects_a_target_with_an_unknown_group() -> None:
    """A target can use only groups of its source; the error names the group."""
    with pytest.raises(ValueError, match="block"):
        rule_set(Rule("a/{layer}", "{layer}.{block}"))
    assert rule_set(Rule("a/{layer}/{block}", "{layer}.{block}"))


def test_rule_set_rejects_a_group_that_occurs_twice() -> None:
    """The error shows the pattern; two different groups are accepted."""
    with pytest.raises(ValueError, match=r"\{a\}/\{a\}"):
        rule_set(Rule("{a}/{a}", "t"))
    assert rule_set(Rule("{a}/{b}", "t"))
