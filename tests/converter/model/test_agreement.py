"""Logits and endpoints agree with those of TensorFlow 2.21, for the same weights and input.

Digits was trained, so its averages differ from its raw values. Objects has random values and an odd input size.
Tolerances: in float64 only rounding differs, and a wrong padding, epsilon or order exceeds 1e-10. In float32 the limits
are 1e-5 and twice the distance of TensorFlow's float32 from its float64.
"""

from __future__ import annotations

import pathlib
import re
from typing import Any, TypeAlias

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network is a PyTorch module")

import tfckpt  # noqa: E402
from converter.conversion import convert  # noqa: E402
from converter.families.averages import WeightsChoice  # noqa: E402
from converter.loading import load_model  # noqa: E402
from converter.model import EfficientNet  # noqa: E402
from converter.verification.activations import compare, load_golden  # noqa: E402
from tests.arrays import distance  # noqa: E402

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def compute_logits(model: EfficientNet, images: Array) -> Array:
    """Return the logits of NHWC images in the model's dtype."""
    dtype = model.stem.conv.weight.dtype
    with torch.inference_mode():
        logits: Array = model(torch.tensor(images).to(dtype).permute(0, 3, 1, 2)).numpy()
    return logits


def require_agreement(model: EfficientNet, images: Array, logits: Array, logits64: Array) -> None:
    """Check float64 up to rounding, and float32 to 1e-5 and twice the distance of TensorFlow's float32 from float64."""
    single = compute_logits(model, images)
    exact = compute_logits(model.double(), images)

    assert distance(exact, logits64) < 1e-10
    assert distance(single, logits) < 1e-5
    assert distance(single, logits64) <= 2 * distance(logits, logits64)


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_digits_logits_agree_with_tensorflow(data: pathlib.Path, digits: pathlib.Path, weights: WeightsChoice) -> None:
    """The averages and the raw values give different logits for the 300 test images."""
    suffix = "" if weights == "ema" else "_raw"
    with np.load(data / "digits" / "digits-test.npz") as test:
        pixels = (test["images"].repeat(4, 1).repeat(4, 2).astype(np.float32) - 8) / 8
        logits, logits64, labels = test["logits" + suffix], test["logits" + suffix + "64"], test["labels"]
        other = test["logits_raw" if weights == "ema" else "logits"]
    images = pixels[..., None].repeat(3, axis=3)
    model = load_model(digits, weights=weights)

    correct = int((compute_logits(model, images).argmax(1) == labels).sum())

    assert correct == int((logits.argmax(1) == labels).sum())
    assert distance(logits, other) > 1e-2
    require_agreement(model, images, logits, logits64)


def test_digits_endpoints_agree_with_tensorflow(data: pathlib.Path, digits: pathlib.Path) -> None:
    """All 25 intermediate values that TensorFlow returns are compared, and the logits."""
    golden = load_golden(data / "digits" / "probe.npz")

    report = compare(load_model(digits), golden)

    assert len(report.records) == 26
    assert report.not_compared == ()
    assert report.findings() == []


def read_objects(folder: pathlib.Path) -> dict[str, Array]:
    """Return the object-based checkpoint with the names that a name-based one would have."""
    layers = {
        "_stem/_conv_stem": "stem/conv2d",
        "_stem/_norm": "stem/tpu_batch_normalization",
        "_head/_conv_head": "head/conv2d",
        "_head/_norm": "head/tpu_batch_normalization",
        "_fc": "head/dense",
        "_expand_conv": "conv2d",
        "_depthwise_conv": "depthwise_conv2d",
        "_project_conv": "conv2d_1",
        "_norm0": "tpu_batch_normalization",
        "_norm1": "tpu_batch_normalization_1",
        "_norm2": "tpu_batch_normalization_2",
        "_se/_se_reduce": "se/conv2d",
        "_se/_se_expand": "se/conv2d_1",
    }
    arrays = {}
    with tfckpt.open(folder) as checkpoint:
        for key in checkpoint:
            path = key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
            match = re.fullmatch(r"_blocks/(\d+)/(.+)", path)
            block, inner = (f"blocks_{match[1]}/", match[2]) if match else ("", path)
            layer, _, variable = inner.rpartition("/")
            if layer in layers:
                name = layers[layer]
                if block == "blocks_0/":
                    name = name.removesuffix("_1")  # this block has one convolution and one batch norm
                arrays[f"{block}{name}/{variable}"] = checkpoint[key]
    return arrays


def test_objects_agree_with_tensorflow(data: pathlib.Path) -> None:
    """Feature maps of 45-pixel images have odd and even sizes; both precisions are compared."""
    golden = load_golden(data / "objects" / "golden.npz")
    result = convert(read_objects(data / "objects"), weights="raw", strides=(1, 2, 2, 1))
    model = EfficientNet(result.config).eval()
    model.load_state_dict(
        {name: torch.tensor(np.ascontiguousarray(array)) for name, array in result.state_dict.items()}
    )

    report, exact = compare(model, golden), compare(model, golden, double=True)

    assert report.findings() == []
    assert exact.findings() == []
    assert len(report.records) == 27
    require_agreement(model, golden["input"], golden["logits"], golden["logits64"])
