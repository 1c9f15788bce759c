"""PyTorch modules as targets of rules: found by name, built, and asked for their tensors."""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pytest

from converter.conversion import convert, plan_conversion
from converter.errors import ConversionError, MappingError
from converter.mapping.modules import import_module, targets_of_module
from converter.mapping.rules import Constant, Ignore, Rule, RuleSet

RULES = RuleSet(
    name="mine",
    version="1",
    rules=(Rule("a/kernel", "a.weight", "dense"), Rule("a/bias", "a.bias")),
    ignores=(Ignore("step", "counts"),),
)
ARRAYS = {"a/kernel": np.arange(6.0).reshape(2, 3), "a/bias": np.zeros(3), "step": np.array(7)}

SOURCE = """
class Shape:
    def __init__(self, *shape):
        self.shape = shape

class Net:
    def state_dict(self):
        return {"a.weight": Shape(3, 2), "a.bias": Shape(3)}

def build():
    return Net()

def wants(argument):
    return Net()

built = Net()
nothing = 7

class Holder:
    build = staticmethod(build)
"""


@pytest.fixture
def module(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own, in the current folder."""
    (tmp_path / "users_network.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "users_network", raising=False)
    return "users_network"


@pytest.mark.parametrize("name", ["build", "Net", "built", "Holder.build"])
def test_factory_class_and_module_all_give_their_tensors(module: str, name: str) -> None:
    """What is called, and what is there already, in the current folder."""
    assert targets_of_module(import_module(f"{module}:{name}")) == {"a.weight": (3, 2), "a.bias": (3,)}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{module}", "names no module: expected module.path:factory"),
        ("{module}:", "names no module"),
        ("{module}:missing", "AttributeError"),
        ("{module}:wants", "TypeError"),
        ("{module}:nothing", "TypeError: 'int' object is not callable"),
        ("users_other_network:build", "ModuleNotFoundError"),
    ],
)
def test_module_that_cannot_be_built_is_refused(module: str, name: str, message: str) -> None:
    """What went wrong in the user's code is part of the message; `build` beside it works."""
    with pytest.raises(ConversionError, match=message):
        import_module(name.format(module=module))
    assert import_module(f"{module}:build")


def test_rules_convert_into_what_they_make() -> None:
    """Without a module targets are the rules' own, and every source is used or ignored."""
    result = convert(ARRAYS, rules=RULES)

    assert list(result.state_dict) == ["a.bias", "a.weight"]
    assert np.array_equal(result.state_dict["a.weight"], ARRAYS["a/kernel"].T)
    assert result.config is None
    assert result.report.network == "mine"
    assert result.report.parameters == 9


def test_rules_convert_into_a_module_in_its_order() -> None:
    """Names and shapes that are given have to be filled, each once."""
    into = {"a.weight": (3, 2), "a.bias": (3,)}

    assert list(convert(ARRAYS, rules=RULES, into=into).state_dict) == list(into)
    with pytest.raises(MappingError) as caught:
        convert(ARRAYS, rules=RULES, into={**into, "b.weight": (2, 2)})
    assert [finding.target for finding in caught.value.missing] == ["b.weight"]


def test_rules_leave_no_source_out_in_silence() -> None:
    """A tensor that no rule takes and none ignores stops the conversion."""
    with pytest.raises(MappingError) as caught:
        convert({**ARRAYS, "b": np.ones(1)}, rules=RULES)

    assert [finding.name for finding in caught.value.unmapped] == ["b"]


def test_two_rules_for_one_source_are_ambiguous() -> None:
    """Both are named; either alone would do."""
    rules = RuleSet(
        name="x", version="1", rules=(*RULES.rules, Rule("{layer}/bias", "{layer}.b")), ignores=RULES.ignores
    )

    with pytest.raises(MappingError) as caught:
        convert(ARRAYS, rules=rules)

    assert caught.value.ambiguous[0].candidates == ("the rule a/bias (to a.bias)", "the rule {layer}/bias (to a.b)")


def test_rule_with_a_layout_of_another_rank_is_a_mismatch() -> None:
    """A bias has not the axes of a dense kernel."""
    rules = RuleSet(
        name="x", version="1", rules=(RULES.rules[0], Rule("a/bias", "a.bias", "dense")), ignores=RULES.ignores
    )

    with pytest.raises(MappingError, match=r"a/bias \[3\] has not the axes of layout dense"):
        convert(ARRAYS, rules=rules)


def test_rule_that_takes_nothing_is_noted() -> None:
    """A pattern that fits no tensor is probably a slip, but does no harm."""
    rules = RuleSet(name="x", version="1", rules=(*RULES.rules, Rule("c", "c")), ignores=RULES.ignores)

    assert plan_conversion(ARRAYS, rules=rules).report.notes == ("the rule c takes no tensor",)


def test_constant_fills_its_targets_shape() -> None:
    """A scalar where there is no module, and every element where a module has more."""
    rules = RuleSet(
        name="x", version="1", rules=RULES.rules, ignores=RULES.ignores, constants=(Constant("n", 2, "int64", "why"),)
    )

    alone = convert(ARRAYS, rules=rules).state_dict["n"]
    wide = convert(ARRAYS, rules=rules, into={"a.weight": (3, 2), "a.bias": (3,), "n": (2,)}).state_dict["n"]

    assert (alone.shape, alone.dtype, alone.item()) == ((), np.int64, 2)
    assert wide.tolist() == [2, 2]


@pytest.mark.parametrize(
    "option",
    [{"model": "efficientnetv2-s"}, {"strides": (1,)}, {"scope": ""}, {"head": "x"}, {"release": "efficientnetv2-s"}],
)
def test_rules_take_nothing_that_says_what_an_efficientnet_is(option: dict[str, object]) -> None:
    """The one or the other: misuse is said at once."""
    with pytest.raises(ValueError, match="rules take none of them"):
        convert(ARRAYS, rules=RULES, **option)  # type: ignore[arg-type]  # one of the options


def test_into_without_rules_is_misuse() -> None:
    """A target alone says nothing of how it is filled."""
    with pytest.raises(ValueError, match="no rules are given"):
        convert(ARRAYS, into={})


def test_conversion_by_rules_has_no_config_to_require() -> None:
    """Who needs an EfficientNet is told that this is none."""
    with pytest.raises(ConversionError, match="a network of another kind than EfficientNet"):
        convert(ARRAYS, rules=RULES).required_config()
