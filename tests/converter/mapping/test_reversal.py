"""Back to TensorFlow's arrays: rules read from right to left."""

from __future__ import annotations

import numpy as np
import pytest

from converter.conversion import convert
from converter.errors import ConversionError
from converter.families.automl import AUTOML
from converter.mapping.reversal import reverse
from converter.mapping.rules import Constant, Rule, RuleSet
from converter.model.config import CONFIGS

from .. import networks

RULES = RuleSet(
    name="mine",
    version="1",
    scope="net/",
    rules=(
        Rule("{layer}/kernel", "{layer}.weight", "dense"),
        Rule("{layer}/depthwise_kernel", "{layer}.depthwise", "depthwise"),
        Rule("{layer}/{part}", "{layer}.{part}"),
    ),
    constants=(Constant("{layer...}.count", 0, "int64", "none"),),
    words={"part": {"beta": "bias"}},
)


def test_reverse_gives_names_and_layouts_back() -> None:
    """Scope, words and layouts are undone, and constants have no source."""
    kernel = np.arange(6.0).reshape(2, 3)
    depthwise = np.arange(18.0).reshape(3, 3, 2, 1)
    state_dict = {
        "a.weight": kernel.T,
        "a.bias": np.ones(3),
        "a.depthwise": depthwise.transpose(2, 3, 0, 1),
        "a.count": np.array(0),
    }

    arrays = reverse(state_dict, RULES)

    assert list(arrays) == ["net/a/kernel", "net/a/beta", "net/a/depthwise_kernel"]
    assert np.array_equal(arrays["net/a/kernel"], kernel)
    assert np.array_equal(arrays["net/a/depthwise_kernel"], depthwise)


def test_reverse_takes_tensors_of_pytorch() -> None:
    """A trained module's state dict goes back as it is."""
    torch = pytest.importorskip("torch", reason="the state dict is PyTorch's")

    assert reverse({"a.weight": torch.ones(3, 2)}, RULES)["net/a/kernel"].shape == (2, 3)


def test_reverse_of_every_published_network_is_what_it_was_made_from() -> None:
    """Every array comes back under its own name with its own number."""
    for name in ("efficientnetv2-b0", "efficientnet-b0"):
        arrays = networks.arrays(name, averages=False)
        result = convert(arrays)

        found = reverse(result.state_dict, result.rules)

        assert set(found) == set(arrays) - {"global_step"}
        for key, array in found.items():
            assert array.shape == arrays[key].shape
            assert array.flat[0] == arrays[key].flat[0]


def test_first_line_counts_where_several_would_make_a_target() -> None:
    """The classifier has two names in the released code's table; going back gives the usual one."""
    rules = AUTOML.rule_set(CONFIGS["efficientnetv2-b0"], "net/")

    assert list(reverse({"classifier.bias": np.ones(3)}, rules)) == ["net/head/dense/bias"]


@pytest.mark.parametrize(
    ("state_dict", "message"),
    [
        ({"other": np.ones(1)}, "other: no rule makes it"),
        ({"a.weight": np.ones(3)}, r"a.weight: layout dense makes 2 axes, not \[3\]"),
        ({"a.depthwise": np.ones((2, 2, 3, 3))}, "a.depthwise: layout depthwise makes"),
    ],
)
def test_tensor_that_no_rule_could_have_made_is_refused(state_dict: dict[str, np.ndarray], message: str) -> None:
    """All of them are listed, and nothing is given back."""
    with pytest.raises(ConversionError, match=message):
        reverse(state_dict, RULES)
    assert reverse({"a.weight": np.ones((3, 2))}, RULES)


def test_report_of_another_conversion_is_refused() -> None:
    """A tensor the conversion did not make has no source in its report."""
    result = convert(networks.arrays("efficientnetv2-b0", averages=False))

    with pytest.raises(ConversionError, match="other: the conversion did not make it"):
        reverse({**result.state_dict, "other": np.ones(1)}, result.report)
    with pytest.raises(ConversionError, match=r"stem\.bn\.weight: layout identity makes"):
        reverse({"stem.bn.weight": np.ones(3)}, result.report)
    assert len(reverse(result.state_dict, result.report)) == 361
