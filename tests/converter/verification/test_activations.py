"""Comparison with recorded values: measured differences, refused inputs, and golden files."""

from __future__ import annotations

import io
import json
import math
import pathlib
import re
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the compared network is a PyTorch module")

from converter.errors import ConversionError, VerificationError  # noqa: E402
from converter.model import EfficientNet, EfficientNetConfig, StageConfig  # noqa: E402
from converter.verification.activations import compare, load_golden  # noqa: E402
from tfckpt.errors import CheckpointError, CheckpointNotFoundError, CorruptionError  # noqa: E402

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

CONFIG = EfficientNetConfig(
    name="tiny",
    stem_channels=8,
    stages=(
        StageConfig(
            block="mbconv", repeats=1, kernel=3, stride=2, expansion=2, in_channels=8, out_channels=8, se_ratio=0.25
        ),
    ),
    head_channels=16,
    num_classes=4,
)
POINTS = [
    "stem",
    "block_0/expansion_output",
    "block_0",
    "reduction_1/expansion_output",
    "reduction_1",
    "features",
    "head_1x1",
    "pooled_features",
    "head",
    "logits",
]


@pytest.fixture
def model() -> EfficientNet:
    """A small random network in eval mode."""
    torch.manual_seed(0)
    return EfficientNet(CONFIG).eval()


@pytest.fixture
def golden(model: EfficientNet) -> dict[str, Array]:
    """The values of the network itself in the form of a golden file, last layer first."""
    images = np.random.default_rng(0).standard_normal((2, 9, 12, 3)).astype(np.float32)
    with torch.inference_mode():
        points = model.endpoints(torch.from_numpy(images).permute(0, 3, 1, 2))
    values = {name: (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).numpy().copy() for name, x in points.items()}
    logits = values.pop("logits")
    endpoints = {f"endpoint:{name}": array for name, array in reversed(values.items())}
    return {**endpoints, "logits": logits, "input": images}


def test_layers_are_compared_in_network_order(model: EfficientNet, golden: dict[str, Array]) -> None:
    """Every endpoint and the logits have a record, NHWC, in network order."""
    report = compare(model, golden)

    assert [record.name for record in report.records] == POINTS
    assert report.records[0].shape == (2, 5, 6, 8)
    assert report.records[-1].shape == (2, 4)
    assert (report.max_abs, report.max_rel, report.ok, report.findings()) == (0.0, 0.0, True, [])
    assert report.dtype == "float32"


def test_differences_are_measured_against_the_layers_largest_value(
    model: EfficientNet, golden: dict[str, Array]
) -> None:
    """The record has the absolute difference, and its ratio to the largest reference value."""
    golden["logits"] = np.array([[1.0, -2.0, 0.5, 0.0]] * 2)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([1.0, -2.0, 0.5, 0.25]))

    report = compare(model, golden)

    assert (report.records[-1].max_abs, report.records[-1].max_rel) == (0.25, 0.125)
    assert (report.max_abs, report.max_rel, report.ok) == (0.25, 0.125, False)
    assert len(report.findings()) == 1


def test_difference_of_exactly_the_tolerance_agrees(model: EfficientNet, golden: dict[str, Array]) -> None:
    """Any larger difference does not agree."""
    golden["logits"] = golden["logits"].astype(np.float64)
    golden["logits"][0, 0] += 1e-3
    measured = compare(model, golden).max_rel

    assert compare(model, golden, tolerance=measured).ok
    assert not compare(model, golden, tolerance=np.nextafter(measured, 0.0)).ok


def test_different_shape_is_a_finding(model: EfficientNet, golden: dict[str, Array]) -> None:
    """The record has both shapes, and the other layers are still compared."""
    golden["endpoint:block_0"] = golden["endpoint:block_0"][:, :2]

    report = compare(model, golden)

    (record,) = [record for record in report.records if not record.agrees]
    assert (record.name, record.shape, record.reference_shape) == ("block_0", (2, 3, 3, 8), (2, 2, 3, 8))
    assert math.isinf(report.max_rel)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_value_that_is_not_finite_never_agrees(model: EfficientNet, golden: dict[str, Array], value: float) -> None:
    """One such reference value makes its layer and the total differ, even if another layer differs more."""
    golden["logits"][0, 0] = value
    golden["endpoint:stem"] += 1.0

    report = compare(model, golden)

    assert not report.records[-1].agrees
    assert not report.ok
    assert not math.isfinite(report.max_abs)


def test_layer_of_zeros_agrees_only_with_zeros(model: EfficientNet, golden: dict[str, Array]) -> None:
    """If the largest reference value is zero, any difference is infinitely large."""
    with torch.no_grad():
        model.classifier.weight.zero_()
    golden["logits"] = np.zeros((2, 4), np.float32)

    equal = compare(model, golden).records[-1]
    with torch.no_grad():
        model.classifier.bias[0] = 1e-9
    unequal = compare(model, golden).records[-1]

    assert (equal.max_rel, equal.agrees) == (0.0, True)
    assert (unequal.max_rel, unequal.agrees) == (math.inf, False)


def test_double_holds_exact_logits_to_a_smaller_tolerance(model: EfficientNet, golden: dict[str, Array]) -> None:
    """The tolerance of `logits64` is 1e-10 in float64, which float32 exceeds, and the model itself does not change."""
    golden["logits64"] = model.double()(torch.from_numpy(golden["input"]).double().permute(0, 3, 1, 2)).detach().numpy()
    model.float()
    off = {**golden, "logits64": golden["logits64"] * (1 + 1e-8)}

    exact = compare(model, golden, double=True)

    assert exact.dtype == "float64"
    assert exact.ok
    assert [record.name for record in exact.records[-2:]] == ["logits", "logits64"]
    (record,) = [record for record in compare(model, off, double=True).records if not record.agrees]
    assert record.name == "logits64"
    assert compare(model, off).ok
    assert model.stem.conv.weight.dtype == torch.float32


def test_model_in_training_mode_is_compared_in_eval_mode(model: EfficientNet, golden: dict[str, Array]) -> None:
    """A copy runs, so dropout is inactive, statistics do not change, and the model stays in training mode."""
    model.train()

    report = compare(model, golden)

    assert report.ok
    assert model.training
    assert model.stem.bn.num_batches_tracked.item() == 0


def test_model_without_classes_is_compared_without_logits(model: EfficientNet, golden: dict[str, Array]) -> None:
    """The logits are listed as not compared, and all other layers are compared."""
    model.reset_classifier(0)

    report = compare(model, golden)

    assert [name for name, _ in report.not_compared] == ["logits"]
    assert [record.name for record in report.records] == POINTS[:-1]
    assert report.ok


def test_golden_values_without_a_comparable_array_are_refused(model: EfficientNet, golden: dict[str, Array]) -> None:
    """A model without classes cannot be compared with logits alone, but with logits and an endpoint."""
    model.reset_classifier(0)

    with pytest.raises(ConversionError, match="logits"):
        compare(model, {key: golden[key] for key in ("input", "logits")})
    assert compare(model, {key: golden[key] for key in ("input", "logits", "endpoint:head")}).ok


def test_unknown_arrays_are_listed_as_not_compared(model: EfficientNet, golden: dict[str, Array]) -> None:
    """A golden file may have other arrays; the summary names them."""
    report = compare(model, {**golden, "labels": np.zeros(2)})

    assert [name for name, _ in report.not_compared] == ["labels"]
    assert "labels" in report.summary()


def test_unknown_endpoint_is_refused_with_the_known_ones(model: EfficientNet, golden: dict[str, Array]) -> None:
    """An unknown endpoint is probably a sign of the wrong network."""
    golden["endpoint:block_1"] = golden.pop("endpoint:block_0")

    with pytest.raises(ConversionError) as caught:
        compare(model, golden)

    assert "block_1" in str(caught.value)
    assert ", ".join(POINTS) in str(caught.value)


@pytest.mark.parametrize(
    "shape", [(2, 3, 9, 12), (9, 12, 3), (0, 9, 12, 3)], ids=["channels first", "no batch", "empty batch"]
)
def test_input_that_is_not_a_batch_of_images_is_refused(
    model: EfficientNet, golden: dict[str, Array], shape: tuple[int, ...]
) -> None:
    """The axes have to be N, H, W, C, and the batch must not be empty."""
    with pytest.raises(ConversionError, match=re.escape(str(list(shape)))):
        compare(model, {**golden, "input": np.zeros(shape)})


@pytest.mark.parametrize("keys", [["logits"], ["input", "labels"], []], ids=["no input", "no reference", "nothing"])
def test_golden_values_need_an_input_and_a_reference(
    model: EfficientNet, golden: dict[str, Array], keys: list[str]
) -> None:
    """An input and one endpoint are enough."""
    arrays = {**golden, "labels": np.zeros(2)}

    with pytest.raises(ConversionError):
        compare(model, {key: arrays[key] for key in keys})
    assert compare(model, {key: arrays[key] for key in ("input", "endpoint:stem")}).ok


def test_require_raises_with_every_finding_and_the_report(model: EfficientNet, golden: dict[str, Array]) -> None:
    """Nothing is raised if all layers agree."""
    compare(model, golden).require()
    golden["endpoint:stem"] += 1.0
    golden["endpoint:head"] += 1.0
    report = compare(model, golden)

    with pytest.raises(VerificationError) as caught:
        report.require()

    _, *lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == ["stem", "head"]
    assert caught.value.report is report


def test_report_becomes_strict_json(model: EfficientNet, golden: dict[str, Array]) -> None:
    """Infinite values and NaN are null."""
    golden["logits"][0, 0] = math.nan

    record = json.loads(json.dumps(compare(model, golden).to_dict(), allow_nan=False))

    assert record["max_rel"] is None
    assert len(record["layers"]) == 10
    assert record["layers"][0] == {
        "name": "stem",
        "shape": [2, 5, 6, 8],
        "reference_shape": [2, 5, 6, 8],
        "max_abs": 0.0,
        "max_rel": 0.0,
        "tolerance": 1e-5,
        "agrees": True,
    }
    assert record["layers"][-1]["agrees"] is False


# Golden files.


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_golden_file_of_numpy_is_read(tmp_path: pathlib.Path, save: Any) -> None:
    """Names, dtypes, shapes and values are equal, also with Fortran order or another byte order."""
    arrays = {
        "input": np.arange(24, dtype=np.float32).reshape(1, 2, 4, 3),
        "endpoint:block_0/expansion_output": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "logits": np.arange(3, dtype=">f4"),
        "labels": np.array(7),
        "empty": np.zeros((0, 4), np.uint8),
    }
    save(tmp_path / "golden.npz", **arrays)

    loaded = load_golden(tmp_path / "golden.npz")

    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        assert np.array_equal(loaded[name], array)


class Trap:
    """An object that fails the test when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return a call that fails the test."""
        return (pytest.fail, ("the file was unpickled",))


@pytest.mark.parametrize(
    "array", [np.array([Trap()], object), np.array(["text"]), np.array([1j])], ids=["objects", "text", "complex"]
)
def test_array_without_real_numbers_is_refused(tmp_path: pathlib.Path, array: Array) -> None:
    """Nothing is unpickled; the error has the file and the array."""
    path = tmp_path / "golden.npz"
    np.savez(path, input=np.zeros(1), logits=array)

    with pytest.raises(CorruptionError) as caught:
        load_golden(path)

    assert (caught.value.path, caught.value.tensor) == (str(path), "logits")


@pytest.mark.parametrize("name", ["missing.npz", "."], ids=["missing", "folder"])
def test_golden_file_that_cannot_be_opened_is_not_found(tmp_path: pathlib.Path, name: str) -> None:
    """The error is a `FileNotFoundError` too, and has the path."""
    with pytest.raises(CheckpointNotFoundError) as caught:
        load_golden(tmp_path / name)

    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.path == str(tmp_path / name)


@given(position=st.integers(0, 10**6), value=st.integers(0, 255), length=st.integers(0, 10**6))
def test_damaged_golden_file_has_arrays_or_raises_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, length: int
) -> None:
    """Changed bytes and truncation never raise another error."""
    stream = io.BytesIO()
    np.savez_compressed(stream, input=np.arange(12.0), logits=np.arange(3, dtype=np.float32))
    data = bytearray(stream.getvalue())
    data[position % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(data[: len(data) - length % 8])

    try:
        loaded = load_golden(path)
    except CheckpointError:
        return

    assert all(array.dtype.kind in "biuf" for array in loaded.values())
