"""Rules cut a tensor into several, join several into one, tie names, and go back byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converter.conversion import convert
from converter.errors import ConversionError, MappingError, Shape
from converter.mapping.reversal import reverse
from converter.mapping.rules import Constant, Ignore, Rule, RuleSet, Tied

CUT = Rule("cell/kernel", ("w_ih", "w_hh"), "IG -> GI", cut="I", order="G: i j f o -> i f j o")
JOIN = Rule(("{n}/q", "{n}/k", "{n}/v"), "{n}.in_proj", "IO -> OI", join="O")


def rule_set(*rules: Rule, **options: Any) -> RuleSet:
    """Return a rule set."""
    return RuleSet(name="test", version="1", rules=rules, **options)


def numbers(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return an array of different numbers."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_targets_decide_where_a_source_is_cut() -> None:
    """A kernel of 3 + 2 inputs becomes two matrices, with the gates in PyTorch's order; both ways back are exact."""
    kernel = numbers(5, 8)

    result = convert({"cell/kernel": kernel}, rules=rule_set(CUT), into={"w_ih": (8, 3), "w_hh": (8, 2)})

    gates = kernel.reshape(5, 4, 2)[:, [0, 2, 1, 3]].reshape(5, 8)
    assert np.array_equal(result.state_dict["w_ih"], gates[:3].T)
    assert np.array_equal(result.state_dict["w_hh"], gates[3:].T)
    assert np.array_equal(reverse(result.state_dict, result.report)["cell/kernel"], kernel)
    assert np.array_equal(reverse(result.state_dict, result.rules)["cell/kernel"], kernel)


def test_parts_are_equal_if_there_is_no_target() -> None:
    """An axis that does not divide is a finding."""
    rules = rule_set(Rule("qkv", ("q", "k", "v"), "1IO -> OI", cut="O"))

    result = convert({"qkv": numbers(1, 2, 6)}, rules=rules)

    assert {name: array.shape for name, array in result.state_dict.items()} == dict.fromkeys("qkv", (2, 2))
    with pytest.raises(MappingError, match=r"size 7 along O, but is cut into 2 \+ 2 \+ 2"):
        convert({"qkv": numbers(1, 2, 7)}, rules=rules)


@pytest.mark.parametrize("layout", ["BO -> O", "BO -> BO"])
def test_part_of_size_1_loses_its_axis(layout: str) -> None:
    """The two biases of a GRU are the rows of one tensor; the module has them as vectors."""
    rules = rule_set(Rule("bias", ("b_ih", "b_hh"), layout, cut="B", order="O: z r h -> r z h"))
    bias = numbers(2, 6)

    result = convert({"bias": bias}, rules=rules, into={"b_ih": (6,), "b_hh": (6,)})

    assert result.state_dict["b_hh"].tolist() == [8, 9, 6, 7, 10, 11]
    assert np.array_equal(reverse(result.state_dict, result.report)["bias"], bias)
    if layout == "BO -> O":
        assert np.array_equal(reverse(result.state_dict, rules)["bias"], bias)


def test_sources_are_joined_in_the_order_of_the_rule() -> None:
    """Query, key and value become one projection, and the way back separates them."""
    arrays = {f"a/{name}": numbers(2, 3) + 10 * number for number, name in enumerate("kqv")}

    result = convert(arrays, rules=rule_set(JOIN), into={"a.in_proj": (9, 2)})

    assert np.array_equal(result.state_dict["a.in_proj"], np.concatenate([arrays[f"a/{name}"].T for name in "qkv"]))
    for back in (reverse(result.state_dict, result.report), reverse(result.state_dict, result.rules)):
        assert {name: array.tobytes() for name, array in back.items()} == {
            name: array.tobytes() for name, array in arrays.items()
        }


def test_sources_can_be_stacked() -> None:
    """An axis on the right only is new."""
    rules = rule_set(Rule(("a", "b"), "ab", "O -> BO", join="B"))

    result = convert({"a": numbers(3), "b": numbers(3) + 3}, rules=rules, into={"ab": (2, 3)})

    assert np.array_equal(result.state_dict["ab"], numbers(2, 3))


def test_missing_part_of_a_join_is_a_finding() -> None:
    """The finding names the parts that are missing, not those that are there."""
    arrays = {"a/q": numbers(2, 3), "a/v": numbers(2, 3)}

    with pytest.raises(MappingError) as caught:
        convert(arrays, rules=rule_set(JOIN), into={"a.in_proj": (9, 2)})

    (finding,) = caught.value.missing
    assert (finding.target, finding.expected) == ("a.in_proj", ("a/k",))
    assert not caught.value.unmapped


@pytest.mark.parametrize(
    ("rule", "sources", "targets", "token"),
    [
        (CUT, {"cell/kernel": (5, 8)}, {"w_ih": (8, 3), "w_hh": (8, 3)}, r"cut into 3 \+ 3"),
        (
            CUT,
            {"cell/kernel": (5, 8)},
            {"w_ih": (8, 3), "w_hh": (7, 2)},
            r"\[5, 8\] has the part \[2, 8\] along I, .* \[8, 2\], needed for w_hh \[7, 2\]",
        ),
        (CUT, {"cell/kernel": (5, 6)}, {"w_ih": (6, 3), "w_hh": (6, 2)}, "does not divide into 4"),
        (CUT, {"cell/kernel": (8,)}, {"w_ih": (8, 3), "w_hh": (8, 2)}, "axes of layout"),
        (CUT, {"cell/kernel": (5, 8)}, {"w_ih": (8, 3)}, "w_hh, which the model does not have"),
        (JOIN, {f"a/{n}": (2, 3) for n in "qkv"}, {"a.in_proj": (8, 2)}, "make 9, expected 8"),
        (JOIN, {f"a/{n}": (2, 3) for n in "qkv"}, {"a.in_proj": (9, 4)}, "differs outside the joined axis O"),
    ],
)
def test_sizes_that_do_not_fit_are_findings(
    rule: Rule, sources: dict[str, Shape], targets: dict[str, Shape], token: str
) -> None:
    """Nothing is read; the message has the sizes."""
    with pytest.raises(MappingError, match=token):
        convert({name: np.zeros(shape) for name, shape in sources.items()}, rules=rule_set(rule), into=targets)


def test_all_findings_are_in_one_error() -> None:
    """A cut that does not fit, a target of two rules, an unknown tensor and a constant that does not divide."""
    rules = rule_set(CUT, Rule("a", "t"), Rule("b", "t"), constants=(Constant("c", (0, 1), "int64", "x"),))
    arrays = {"cell/kernel": np.zeros((5, 6)), "a": np.zeros(1), "b": np.zeros(1), "more": np.zeros(1)}

    with pytest.raises(MappingError) as caught:
        convert(arrays, rules=rules, into={"w_ih": (6, 3), "w_hh": (6, 2), "t": (1,), "c": (3,), "d": (1,)})

    kinds = (caught.value.mismatched, caught.value.ambiguous, caught.value.unmapped, caught.value.missing)
    assert [len(kind) for kind in kinds] == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("rule", "token"),
    [
        (Rule("a", ("b", "c"), "IO -> OI"), "no cut"),
        (Rule(("a", "b"), "c", "IO -> OI"), "no join"),
        (Rule("a", "b", "IO -> OI", cut="O"), "only one target"),
        (Rule("a", "b", "IO -> OI", join="O"), "only one source"),
        (Rule("a", ("b", "c"), cut="O"), "spelled as axes"),
        (Rule("a", ("b", "c"), "IO -> OI", cut="X"), "'X'"),
        (Rule("a", ("b", "c"), "1O -> O", cut="1"), "'1'"),
        (Rule(("a", "b"), "c", "IM -> (IM)", join="M"), "merges"),
        (Rule("a", ("b", "c"), "IO -> OI", cut="O", order="O: x y -> y x"), "same axis O"),
        (Rule(("a", "b"), ("c", "d"), "IO -> OI", cut="O", join="O"), "several sources and several targets"),
        (Rule("a", ("b", "b"), "IO -> OI", cut="O"), "'b' twice"),
        (Rule("a", "b", "BO -> O"), "B is on one side"),
        (Rule(("{n}/a", "b"), "c", "IO -> OI", join="O"), "same groups"),
        (Rule("a", (), "IO -> OI", cut="O"), "empty list"),
        (Rule("a", "b", order="O: x y -> y x"), "axes"),
    ],
)
def test_invalid_rule_is_refused(rule: Rule, token: str) -> None:
    """The error says what is wrong; a cut and a join of the same axes are accepted."""
    with pytest.raises(ValueError, match=token):
        rule_set(rule)
    assert rule_set(CUT, JOIN)


def test_tie_fills_only_what_nothing_else_fills() -> None:
    """With a tensor of its own the output layer is not tied, as in mT5; without one it is the embedding, as in T5."""
    rules = rule_set(Rule("wte", "wte"), Rule("head", "head"), tied=(Tied("head", "wte"),))
    into: dict[str, Shape] = {"head": (2,), "wte": (2,)}

    apart = convert({"wte": numbers(2), "head": numbers(2) + 2}, rules=rules, into=into)
    tied = convert({"wte": numbers(2)}, rules=rules, into=into)

    assert apart.report.tied == ()
    assert apart.state_dict["head"].tolist() == [2, 3]
    assert [(record.target, record.to) for record in tied.report.tied] == [("head", "wte")]
    assert tied.state_dict["head"].tolist() == [0, 1]
    assert list(convert({"wte": numbers(2)}, rules=rules).state_dict) == ["wte", "head"]


def test_tied_targets_go_back_to_one_source() -> None:
    """After training apart they differ, and there is no way back."""
    rules = rule_set(Rule("wte", "wte"), tied=(Tied("{layer}.head", "wte"),))
    result = convert({"wte": numbers(2)}, rules=rules, into={"wte": (2,), "a.head": (2,)})
    trained = {**result.state_dict, "a.head": numbers(2) + 1}

    for way in (result.report, result.rules):
        assert list(reverse(result.state_dict, way)) == ["wte"]
        with pytest.raises(ConversionError, match=r"a\.head"):
            reverse(trained, way)


def test_tie_of_another_shape_or_to_nothing_is_a_finding() -> None:
    """The tie to a target of the same shape is accepted."""
    rules = rule_set(Rule("wte", "wte"), tied=(Tied("head", "wte"), Tied("more", "nothing")))

    with pytest.raises(MappingError) as caught:
        convert({"wte": numbers(2)}, rules=rules, into={"wte": (2,), "head": (3,), "more": (2,)})

    assert [finding.target for finding in caught.value.mismatched] == ["head"]
    assert [finding.target for finding in caught.value.missing] == ["more"]


def test_tensor_that_a_module_has_under_two_names_is_filled_once() -> None:
    """One rule for either name, or one for each, is enough; two different tensors for it are refused."""
    torch = pytest.importorskip("torch", reason="the module is PyTorch's")
    module = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3, bias=False))
    module[1].weight = module[0].weight
    first, second = Rule("wte", "0.weight"), Rule("wte", "1.weight")

    for rules in ([first], [second], [first, second]):
        result = convert({"wte": numbers(3, 2)}, rules=rule_set(*rules), into=module)
        assert len(result.report.tied) == 1
        assert result.state_dict["0.weight"] is result.state_dict["1.weight"]
        assert list(reverse(module.state_dict(), result.rules)) == ["wte"]
    both = rule_set(first, Rule("head", "1.weight"))
    assert convert({"wte": numbers(3, 2), "head": numbers(3, 2)}, rules=both, into=module).report.tied == ()
    with pytest.raises(ConversionError, match="values for it differ"):
        convert({"wte": numbers(3, 2), "head": numbers(3, 2) + 1}, rules=both, into=module)


def test_constant_has_a_value_for_each_equal_part() -> None:
    """The forget gate's bias of TensorFlow's cells is 1, and it is not in the checkpoint."""
    rules = rule_set(Rule("w", "w"), constants=(Constant("b", (0, 1, 0, 0), "float32", "forget_bias"),))

    result = convert({"w": numbers(1)}, rules=rules, into={"w": (1,), "b": (8, 1)})

    assert result.state_dict["b"].ravel().tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def test_each_scope_is_tried_and_a_rule_can_have_its_own() -> None:
    """Ignores are limited to the scopes too, and the first reason of several counts."""
    rules = rule_set(
        Rule("{layer}/w", "{layer}"),
        Rule("step", "step", scope=""),
        scope=("a/", "b/"),
        ignores=(Ignore("skip", "first"), Ignore("{any}", "second"), Ignore("other/{any}", "third", scope="")),
    )
    arrays = dict.fromkeys(("a/x/w", "b/y/w", "step", "a/skip", "b/more", "other/z"), numbers(1))

    result = convert(arrays, rules=rules)

    assert sorted(result.state_dict) == ["step", "x", "y"]
    reasons = {record.source: record.reason for record in result.report.ignored}
    assert reasons == {"a/skip": "first", "b/more": "second", "other/z": "third"}
    with pytest.raises(MappingError):
        convert({**arrays, "skip": numbers(1)}, rules=rules)
