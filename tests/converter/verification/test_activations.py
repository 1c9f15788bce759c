"""Layer-by-layer comparison: what it measures, what it refuses, and golden files that are none."""

from __future__ import annotations

import io
import json
import math
import pathlib
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
    """What the network itself gives for an input, as a golden file would have it; written last layer first."""
    images = np.random.default_rng(0).standard_normal((2, 9, 12, 3)).astype(np.float32)
    with torch.inference_mode():
        points = model.endpoints(torch.from_numpy(images).permute(0, 3, 1, 2))
    values = {name: (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).numpy().copy() for name, x in points.items()}
    logits = values.pop("logits")
    endpoints = {f"endpoint:{name}": array for name, array in reversed(values.items())}
    return {**endpoints, "logits": logits, "input": images}


def test_layers_are_compared_in_network_order(model: EfficientNet, golden: dict[str, Array]) -> None:
    """Every endpoint and the logits get a record, NHWC, first layer first."""
    report = compare(model, golden)

    assert [record.name for record in report.records] == POINTS
    assert report.records[0].shape == (2, 5, 6, 8)
    assert report.records[-1].shape == (2, 4)
    assert (report.max_abs, report.max_rel, report.ok, report.findings()) == (0.0, 0.0, True, [])
    assert report.dtype == "float32"


def test_differences_are_measured_against_the_layers_largest_value(
    model: EfficientNet, golden: dict[str, Array]
) -> None:
    """One logit off by a known amount gives that amount, and its part of the largest reference value."""
    golden["logits"] = np.array([[1.0, -2.0, 0.5, 0.0]] * 2)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([1.0, -2.0, 0.5, 0.25]))

    report = compare(model, golden)

    assert (report.records[-1].max_abs, report.records[-1].max_rel) == (0.25, 0.125)
    assert (report.max_abs, report.max_rel, report.ok) == (0.25, 0.125, False)
    assert report.findings() == ["logits [2, 4]: max|Δ| 0.25, of the largest value 0.12, allowed 1e-05"]


def test_tolerance_itself_agrees_and_anything_more_does_not(model: EfficientNet, golden: dict[str, Array]) -> None:
    """A difference of exactly the tolerance is allowed."""
    golden["logits"] = golden["logits"].astype(np.float64)
    golden["logits"][0, 0] += 1e-3
    measured = compare(model, golden).max_rel

    assert compare(model, golden, tolerance=measured).ok
    assert not compare(model, golden, tolerance=np.nextafter(measured, 0.0)).ok


def test_other_shape_is_a_finding_with_both_shapes(model: EfficientNet, golden: dict[str, Array]) -> None:
    """A wrong stride or class count shows where it begins, and the other layers are still compared."""
    golden["endpoint:block_0"] = golden["endpoint:block_0"][:, :2]

    report = compare(model, golden)

    assert report.findings() == ["block_0 [2, 3, 3, 8]: TensorFlow's is [2, 2, 3, 8]"]
    assert math.isinf(report.max_rel)
    assert sum(record.agrees for record in report.records) == 9


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_never_agrees(model: EfficientNet, golden: dict[str, Array], value: float) -> None:
    """One such reference value fails its layer and is the total, even beside larger finite differences."""
    golden["logits"][0, 0] = value
    golden["endpoint:stem"] += 1.0

    report = compare(model, golden)

    assert not report.records[-1].agrees
    assert not report.ok
    assert not math.isfinite(report.max_abs)


def test_layer_of_zeros_agrees_with_zeros_only(model: EfficientNet, golden: dict[str, Array]) -> None:
    """Without a largest value to measure against, equal is equal, and anything else is infinitely far."""
    with torch.no_grad():
        model.classifier.weight.zero_()
    golden["logits"] = np.zeros((2, 4), np.float32)

    equal = compare(model, golden).records[-1]
    with torch.no_grad():
        model.classifier.bias[0] = 1e-9
    unequal = compare(model, golden).records[-1]

    assert (equal.max_rel, equal.agrees) == (0.0, True)
    assert (unequal.max_rel, unequal.agrees) == (math.inf, False)


def test_double_runs_in_float64_and_holds_exact_logits_tighter(model: EfficientNet, golden: dict[str, Array]) -> None:
    """`logits64` is held to 1e-10 in float64, where float32 would fail it, and the model itself stays as it was."""
    golden["logits64"] = model.double()(torch.from_numpy(golden["input"]).double().permute(0, 3, 1, 2)).detach().numpy()
    model.float()
    off = {**golden, "logits64": golden["logits64"] * (1 + 1e-8)}

    exact = compare(model, golden, double=True)

    assert exact.dtype == "float64"
    assert exact.ok
    assert [record.name for record in exact.records[-2:]] == ["logits", "logits64"]
    assert compare(model, off, double=True).findings()[0].startswith("logits64 ")
    assert compare(model, off).ok
    assert model.stem.conv.weight.dtype == torch.float32


def test_model_in_training_mode_is_compared_in_eval_mode(model: EfficientNet, golden: dict[str, Array]) -> None:
    """A copy runs, so that neither dropout acts nor statistics move, and the mode stays."""
    model.train()

    report = compare(model, golden)

    assert report.ok
    assert model.training
    assert model.stem.bn.num_batches_tracked.item() == 0


def test_model_without_classes_leaves_the_logits_out(model: EfficientNet, golden: dict[str, Array]) -> None:
    """The reason is given, and all other layers are compared."""
    model.reset_classifier(0)

    report = compare(model, golden)

    assert report.not_compared == (("logits", "the model gives pooled features"),)
    assert [record.name for record in report.records] == POINTS[:-1]
    assert report.ok


def test_comparison_of_nothing_is_refused(model: EfficientNet, golden: dict[str, Array]) -> None:
    """Logits alone do not verify a model without classes; one endpoint beside them does."""
    model.reset_classifier(0)

    with pytest.raises(ConversionError, match="nothing to compare: logits, the model gives pooled features"):
        compare(model, {key: golden[key] for key in ("input", "logits")})
    assert compare(model, {key: golden[key] for key in ("input", "logits", "endpoint:head")}).ok


def test_other_arrays_are_listed_as_not_compared(model: EfficientNet, golden: dict[str, Array]) -> None:
    """A golden file may hold more; it is said, not passed over."""
    report = compare(model, {**golden, "labels": np.zeros(2)})

    assert report.not_compared == (("labels", "neither logits nor an endpoint"),)
    assert report.summary().splitlines()[1] == "not compared: labels, neither logits nor an endpoint"


def test_unknown_endpoint_is_refused_with_the_known_ones(model: EfficientNet, golden: dict[str, Array]) -> None:
    """A name this network has no value for is more likely a wrong network than nothing to compare."""
    golden["endpoint:block_1"] = golden.pop("endpoint:block_0")

    with pytest.raises(ConversionError) as caught:
        compare(model, golden)

    assert str(caught.value) == f"no endpoint block_1 in this network; it has {', '.join(POINTS)}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": np.zeros((2, 3, 9, 12))}, "golden input is [2, 3, 9, 12], expected [N, H, W, 3]"),
        ({"input": np.zeros((9, 12, 3))}, "golden input is [9, 12, 3], expected [N, H, W, 3]"),
        ({"input": np.zeros((0, 9, 12, 3))}, "golden input is [0, 9, 12, 3], expected [N, H, W, 3]"),
    ],
    ids=["channels first", "no batch", "empty batch"],
)
def test_input_that_is_no_batch_of_images_is_refused(
    model: EfficientNet, golden: dict[str, Array], changes: dict[str, Array], message: str
) -> None:
    """Both shapes are in the message."""
    with pytest.raises(ConversionError) as caught:
        compare(model, {**golden, **changes})

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("keys", "found"), [(["logits"], "logits"), (["input", "labels"], "input, labels"), ([], "nothing")]
)
def test_golden_values_need_an_input_and_a_reference(
    model: EfficientNet, golden: dict[str, Array], keys: list[str], found: str
) -> None:
    """What was found and what is expected is said; an input and one endpoint are enough."""
    arrays = {**golden, "labels": np.zeros(2)}

    with pytest.raises(ConversionError, match=rf"golden values have {found}; expected input \(NHWC\) and logits or"):
        compare(model, {key: arrays[key] for key in keys})
    assert compare(model, {key: arrays[key] for key in ("input", "endpoint:stem")}).ok


def test_require_raises_with_every_finding_and_the_report(model: EfficientNet, golden: dict[str, Array]) -> None:
    """Nothing is raised while all agree."""
    compare(model, golden).require()
    golden["endpoint:stem"] += 1.0
    golden["endpoint:head"] += 1.0
    report = compare(model, golden)

    with pytest.raises(VerificationError) as caught:
        report.require()

    first, *lines = str(caught.value).splitlines()
    assert first == "the layers do not agree with TensorFlow's: 2 of them"
    assert [line.split()[0] for line in lines] == ["stem", "head"]
    assert caught.value.report is report


def test_report_becomes_strict_json(model: EfficientNet, golden: dict[str, Array]) -> None:
    """What JSON has no number for is null."""
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
def test_golden_file_reads_as_numpy_wrote_it(tmp_path: pathlib.Path, save: Any) -> None:
    """Names, dtypes, shapes and values come back, Fortran order and other byte orders among them."""
    arrays = {
        "input": np.arange(24, dtype=np.float32).reshape(1, 2, 4, 3),
        "endpoint:block_0/expansion_output": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "logits": np.arange(3, dtype=">f4"),
        "labels": np.array(7),
        "none": np.zeros((0, 4), np.uint8),
    }
    save(tmp_path / "golden.npz", **arrays)

    found = load_golden(tmp_path / "golden.npz")

    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


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
    """The error is of our family and Python's own, and names the path."""
    with pytest.raises(CheckpointNotFoundError) as caught:
        load_golden(tmp_path / name)

    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.path == str(tmp_path / name)


@given(position=st.integers(0, 10**6), value=st.integers(0, 255), length=st.integers(0, 10**6))
def test_damaged_golden_file_gives_arrays_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, length: int
) -> None:
    """Any byte changed and any end cut off: never an error of another family."""
    stream = io.BytesIO()
    np.savez_compressed(stream, input=np.arange(12.0), logits=np.arange(3, dtype=np.float32))
    data = bytearray(stream.getvalue())
    data[position % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(data[: len(data) - length % 8])

    try:
        found = load_golden(path)
    except CheckpointError:
        return

    assert all(array.dtype.kind in "biuf" for array in found.values())
