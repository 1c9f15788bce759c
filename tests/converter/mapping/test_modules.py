"""Conversions by rules, and PyTorch modules as their targets."""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pytest

from converter.conversion import ConversionOptions, convert, plan_conversion
from converter.errors import ConversionError, MappingError
from converter.mapping.modules import import_module, read_targets
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
    """The name of a user's module in the current directory."""
    (tmp_path / "users_network.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "users_network", raising=False)
    return "users_network"


@pytest.mark.parametrize("name", ["build", "Net", "built", "Holder.build"])
def test_factory_class_and_instance_can_be_imported(module: str, name: str) -> None:
    """Factories and classes are called, an instance is used directly."""
    assert read_targets(import_module(f"{module}:{name}")) == {"a.weight": (3, 2), "a.bias": (3,)}


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("{module}", type(None)),
        ("{module}:", type(None)),
        ("{module}:missing", AttributeError),
        ("{module}:wants", TypeError),
        ("{module}:nothing", TypeError),
        ("users_other_network:build", ModuleNotFoundError),
    ],
)
def test_module_that_cannot_be_built_is_rejected(module: str, name: str, cause: type) -> None:
    """The message names the exception of the user's code, which is also the cause; `build` is accepted."""
    name = name.format(module=module)

    with pytest.raises(ConversionError) as caught:
        import_module(name)

    assert isinstance(caught.value.__cause__, cause)
    assert caught.value.__cause__ is None or cause.__name__ in str(caught.value)
    assert name in str(caught.value)
    assert import_module(f"{module}:build")


def test_rules_define_the_targets_without_a_module() -> None:
    """Without a module, the rules' targets are filled, and every source is used or ignored."""
    result = convert(ARRAYS, rules=RULES)

    assert list(result.state_dict) == ["a.bias", "a.weight"]
    assert np.array_equal(result.state_dict["a.weight"], ARRAYS["a/kernel"].T)
    assert result.config is None
    assert result.report.network == "mine"
    assert result.report.parameters == 9


def test_rules_convert_into_a_module_in_its_order() -> None:
    """All targets of the module must be filled, and the state dict has their order."""
    into = {"a.weight": (3, 2), "a.bias": (3,)}

    assert list(convert(ARRAYS, rules=RULES, into=into).state_dict) == list(into)
    with pytest.raises(MappingError) as caught:
        convert(ARRAYS, rules=RULES, into={**into, "b.weight": (2, 2)})
    assert [finding.target for finding in caught.value.missing] == ["b.weight"]


def test_source_that_no_rule_matches_is_an_error() -> None:
    """A tensor is never dropped silently."""
    with pytest.raises(MappingError) as caught:
        convert({**ARRAYS, "b": np.ones(1)}, rules=RULES)

    assert [finding.name for finding in caught.value.unmapped] == ["b"]


def test_two_rules_for_one_source_are_ambiguous() -> None:
    """The error lists both rules."""
    rules = RuleSet(
        name="x", version="1", rules=(*RULES.rules, Rule("{layer}/bias", "{layer}.b")), ignores=RULES.ignores
    )

    with pytest.raises(MappingError) as caught:
        convert(ARRAYS, rules=rules)

    (finding,) = caught.value.ambiguous
    assert finding.name == "a/bias"
    assert len(finding.candidates) == 2


def test_rule_with_a_layout_of_a_different_rank_is_a_mismatch() -> None:
    """A bias does not have the two axes of a dense kernel."""
    rules = RuleSet(
        name="x", version="1", rules=(RULES.rules[0], Rule("a/bias", "a.bias", "dense")), ignores=RULES.ignores
    )

    with pytest.raises(MappingError) as caught:
        convert(ARRAYS, rules=rules)

    (mismatch,) = caught.value.mismatched
    assert (mismatch.source, mismatch.source_shape, mismatch.layout) == ("a/bias", (3,), "dense")


def test_rule_that_matches_no_tensor_is_noted() -> None:
    """Such a pattern is probably a mistake, but it does no harm."""
    rules = RuleSet(name="x", version="1", rules=(*RULES.rules, Rule("unused", "c")), ignores=RULES.ignores)

    (note,) = plan_conversion(ARRAYS, ConversionOptions(rules=rules)).report.notes

    assert "unused" in note


def test_constant_fills_its_targets_shape() -> None:
    """The constant is a scalar without a module, and fills every element of a module's tensor."""
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
def test_rules_exclude_options_that_describe_an_efficientnet(option: dict[str, object]) -> None:
    """The error names the option."""
    with pytest.raises(ValueError, match=next(iter(option))):
        convert(ARRAYS, rules=RULES, **option)  # type: ignore[arg-type]  # one of the options


def test_into_without_rules_is_misuse() -> None:
    """Targets need rules that fill them."""
    with pytest.raises(ValueError, match="rules"):
        convert(ARRAYS, into={})


def test_conversion_by_rules_has_no_efficientnet_config() -> None:
    """`required_config` raises because the network is not an EfficientNet."""
    with pytest.raises(ConversionError):
        convert(ARRAYS, rules=RULES).required_config()
