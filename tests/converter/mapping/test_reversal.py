"""State dicts are converted back to TensorFlow's names and layouts."""

from __future__ import annotations

import numpy as np
import pytest

from converter.conversion import convert
from converter.errors import ConversionError
from converter.families.automl import AUTOML
from converter.mapping.reversal import reverse
from converter.mapping.rules import Constant, Rule, RuleSet
from converter.model.architectures import CONFIGS

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


def test_reverse_restores_names_and_layouts() -> None:
    """Scope, words and layouts are inverted, and constants are left out."""
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


def test_reversed_arrays_are_in_c_order() -> None:
    """Also those of a state dict that is itself in C order, whose kernels are transposed on the way."""
    arrays = reverse({"a.weight": np.ones((3, 2)), "a.bias": np.ones(3)}, RULES)

    assert all(array.flags.c_contiguous for array in arrays.values())


def test_reverse_accepts_pytorch_tensors() -> None:
    """The state dict of a trained module can be passed directly."""
    torch = pytest.importorskip("torch", reason="the state dict is PyTorch's")

    assert reverse({"a.weight": torch.ones(3, 2)}, RULES)["net/a/kernel"].shape == (2, 3)


def test_reverse_restores_a_published_network() -> None:
    """Every array has its original name, shape and number again."""
    for name in ("efficientnetv2-b0", "efficientnet-b0"):
        arrays = networks.arrays(name, averages=False)
        result = convert(arrays)

        restored = reverse(result.state_dict, result.rules)

        assert set(restored) == set(arrays) - {"global_step"}
        for key, array in restored.items():
            assert array.shape == arrays[key].shape
            assert array.flat[0] == arrays[key].flat[0]


def test_first_of_several_rules_for_a_target_is_used() -> None:
    """The released code's table has two names for the classifier; the usual one comes first."""
    rules = AUTOML.build_rules(CONFIGS["efficientnetv2-b0"], "net/")

    assert list(reverse({"classifier.bias": np.ones(3)}, rules)) == ["net/head/dense/bias"]


@pytest.mark.parametrize(
    "state_dict",
    [{"other": np.ones(1)}, {"a.weight": np.ones(3)}, {"a.depthwise": np.ones((2, 2, 3, 3))}],
    ids=["no rule", "rank", "shape"],
)
def test_tensor_that_no_rule_can_produce_is_rejected(state_dict: dict[str, np.ndarray]) -> None:
    """The error names the tensor."""
    with pytest.raises(ConversionError, match=next(iter(state_dict))):
        reverse(state_dict, RULES)
    assert reverse({"a.weight": np.ones((3, 2))}, RULES)


def test_report_of_a_different_conversion_is_rejected() -> None:
    """The error names a tensor that the conversion did not produce, or not in this shape."""
    result = convert(networks.arrays("efficientnetv2-b0", averages=False))

    with pytest.raises(ConversionError, match="other"):
        reverse({**result.state_dict, "other": np.ones(1)}, result.report)
    with pytest.raises(ConversionError, match=r"stem\.bn\.weight"):
        reverse({"stem.bn.weight": np.ones(3)}, result.report)
    assert len(reverse(result.state_dict, result.report)) == 361
