"""The proof of layers on networks saved by TensorFlow: correct ones agree, and each fault is found in its place."""

from __future__ import annotations

import collections
import copy
import dataclasses
import itertools
import pathlib
import re
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="both networks run in PyTorch")

from torch import nn  # noqa: E402

import tfckpt  # noqa: E402
from converter.conversion import ConversionOptions, plan_conversion  # noqa: E402
from converter.errors import GraphError, VerificationError  # noqa: E402
from converter.families.averages import WeightsChoice  # noqa: E402
from converter.loading import load_model  # noqa: E402
from converter.model import EfficientNet  # noqa: E402
from converter.model.activations import make_activation  # noqa: E402
from converter.model.config import Activation  # noqa: E402
from converter.verification.comparison import measure  # noqa: E402
from converter.verification.diagnosis import diagnose  # noqa: E402
from converter.verification.layers import LEAST_NOISE, OracleRun, compare_layers  # noqa: E402
from converter.verification.layers_report import LayersReport  # noqa: E402
from converter.verification.pairing import pair_layers  # noqa: E402
from tests.arrays import distance  # noqa: E402
from tests.conftest import Choose, slow  # noqa: E402
from tfckpt.graphs.graph import Graph, Node  # noqa: E402

from .cases import DATA, Case, keys_of, layer_of, open_case  # noqa: E402

DIGITS = "digits/efficientnetv2-digits"
#: TensorFlow's names of endpoints by our layers.
ENDPOINTS = {
    "stem": "stem",
    "stages.0.0.output": "block_0",
    "stages.1.0.expand": "block_1/expansion_output",
    "stages.1.0.project": "block_1",
    "stages.1.1.output": "block_2",
    "stages.2.0.se": "block_3/expansion_output",
    "stages.2.0.project": "block_3",
    "stages.2.1.output": "block_4",
    "stages.3.0.se": "block_5/expansion_output",
    "stages.3.1.output": "features",
    "head": "head_1x1",
    "pooled": "pooled_features",
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The tests run on one thread, because several threads are slower for layers of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> Iterator[Case]:
    """The trained network with its averages, and a run of its graph."""
    case = open_case(DIGITS)
    yield case
    case.checkpoint.close()


@pytest.fixture
def model(digits: Case) -> EfficientNet:
    """A copy of the converted network that a test may change."""
    return copy.deepcopy(digits.model)


def compare(model: EfficientNet, case: Case) -> LayersReport:
    """Return a comparison in float64 with causes."""
    report = compare_layers(model, case.run, double=True)
    causes = diagnose(model, case.run, report, graph=case.graph)
    return LayersReport(dtype="float64", graph=report.graph, probe=report.probe, records=report.records, causes=causes)


def kind_of(target: str) -> str:
    """Return the name of a tensor without the numbers of its block."""
    return re.sub(r"\d+", "N", target)


def kinds_of_causes(report: LayersReport) -> list[tuple[str, str]]:
    """Return each layer with a cause, and the kind of the cause."""
    return [(layer, cause.partition(":")[0]) for layer, cause in report.causes]


def find_faulty(report: LayersReport) -> list[str]:
    """Return the names of the faulty layers."""
    return [record.layer for record in report.records if record.is_faulty]


@pytest.mark.parametrize(
    ("path", "choice"),
    [
        (DIGITS, "ema"),
        slow(DIGITS, "raw"),
        slow("digits-train", "ema"),
        ("digits-train", "raw"),
        ("savedmodel", "raw"),
        ("keras/v1/saved_model", "raw"),
        slow("keras/v2/saved_model", "raw"),
        ("keras/keras3/exported", "raw"),
    ],
)
def test_converted_network_agrees_with_its_graph(path: str, choice: WeightsChoice) -> None:
    """Only rounding errors are left: every layer is within 1e-5 in float32 and within 1e-10 in float64."""
    case = open_case(path, choice)

    narrow = compare_layers(case.model, case.run)
    exact = compare_layers(case.model, case.run, double=True)
    case.checkpoint.close()

    assert narrow.ok and exact.ok
    assert (narrow.dtype, exact.dtype) == ("float32", "float64")
    assert max(record.max_rel for record in narrow.records) < 1e-5
    assert max(max(record.max_rel, record.alone) for record in exact.records) < 1e-10
    assert min(record.cosine for record in narrow.records) > 1 - 1e-9
    assert narrow.records[-1].layer == "logits"


@pytest.mark.parametrize(("path", "probe"), [(DIGITS, "digits/probe.npz"), ("savedmodel", "savedmodel/golden.npz")])
def test_paired_tensors_are_the_endpoints_recorded_by_tensorflow(path: str, probe: str) -> None:
    """The tensor of each layer has the values that TensorFlow recorded for its endpoint."""
    case = open_case(path, "ema" if path == DIGITS else "raw")
    weights = "averages" if path == DIGITS else "raw"
    with np.load(DATA / probe) as golden:
        names = {layer: case.pairing.pair(layer).tensor for layer in (*ENDPOINTS, "logits")}
        values = case.graph.run(list(names.values()), {case.pairing.input: golden["input"]}, weights=weights)
        expected = [*(golden[f"endpoint:{name}"] for name in ENDPOINTS.values()), golden["logits"]]

    for layer, value, recorded in zip(names, values, expected, strict=True):
        assert distance(value, recorded) < 1e-5, layer
    case.checkpoint.close()


def test_every_scaled_tensor_is_found_in_its_layer(digits: Case, model: EfficientNet, choose: Choose[str]) -> None:
    """After scaling one of the 113 tensors by 1.01, only its layer is faulty."""
    state = model.state_dict()
    targets = [move.target for move in digits.planned.plan.moves]
    assert len(targets) == 113
    for target in choose(targets, kind_of):
        original = state[target].clone()
        state[target].mul_(1.01)

        report = compare_layers(model, digits.run, double=True)

        assert not report.ok
        assert find_faulty(report) == [layer_of(target)], target
        state[target].copy_(original)


def test_scaled_tensors_are_found_in_float32_too(digits: Case, model: EfficientNet) -> None:
    """The default comparison finds a tensor of each kind scaled by 1.01, and the first faulty layer is its own."""
    state = model.state_dict()
    for target in ("stem.conv.weight", "stages.1.1.project.bn.bias", "stages.3.1.se.reduce.weight", "classifier.bias"):
        original = state[target].clone()
        state[target].mul_(1.01)

        report = compare_layers(model, digits.run)

        assert not report.ok
        assert report.first is not None
        assert report.first.layer == layer_of(target)
        assert report.dtype == "float32"
        state[target].copy_(original)


def test_every_swap_of_tensors_is_found_in_both_layers(
    digits: Case, model: EfficientNet, choose: Choose[tuple[str, str]]
) -> None:
    """After swapping a tensor with the next one of its shape, only their two layers are faulty."""
    state = model.state_dict()
    shapes = collections.defaultdict(list)
    for move in digits.planned.plan.moves:
        shapes[move.target_shape].append(move.target)
    pairs = [pair for targets in shapes.values() for pair in itertools.pairwise(targets)]
    assert len(pairs) > 60
    for one, other in choose(pairs, lambda pair: tuple(map(kind_of, pair))):
        first, second = state[one].clone(), state[other].clone()
        state[one].copy_(second)
        state[other].copy_(first)

        report = compare_layers(model, digits.run, double=True)

        assert set(find_faulty(report)) == {layer_of(one), layer_of(other)}, (one, other)
        state[one].copy_(first)
        state[other].copy_(second)


def test_every_transposed_kernel_is_found(digits: Case, model: EfficientNet, choose: Choose[str]) -> None:
    """A kernel in TensorFlow's order, reshaped instead of transposed, makes its layer faulty."""
    state = model.state_dict()
    reshaped = {
        move.target: torch.from_numpy(np.array(digits.checkpoint[move.source])).reshape(state[move.target].shape)
        for move in digits.planned.plan.moves
    }
    # vectors, and kernels with axes of size 1, are the same
    changed = [target for target, wrong in reshaped.items() if not torch.equal(wrong, state[target])]
    assert len(changed) == 28
    for target in choose(changed, kind_of):
        original = state[target].clone()
        state[target].copy_(reshaped[target])

        report = compare_layers(model, digits.run, double=True)

        assert find_faulty(report) == [layer_of(target)]
        state[target].copy_(original)


def test_raw_values_in_one_block_are_found(digits: Case, model: EfficientNet) -> None:
    """After loading raw values into one block, exactly its layers with weights are faulty."""
    raw = load_model(DATA / DIGITS, weights="raw").state_dict()
    state = model.state_dict()
    for name in state:
        if name.startswith("stages.2.0."):
            state[name].copy_(raw[name])

    report = compare(model, digits)

    block = [f"stages.2.0.{part}" for part in ("expand", "depthwise", "se.reduce", "se.expand", "project")]
    assert find_faulty(report) == block
    assert report.causes == ()
    assert len(report.findings()) == len(block) + 1
    assert "stages.2.0.se" in report.findings()[-1]


@pytest.mark.parametrize("layer", ["stem", "stages.1.0.expand", "stages.2.0.depthwise"])
def test_symmetric_padding_is_found(digits: Case, model: EfficientNet, layer: str) -> None:
    """PyTorch's symmetric padding differs from TensorFlow's SAME for stride 2 and even sizes."""
    module = model.get_submodule(layer)
    old = module.conv
    module.conv = nn.Conv2d(
        old.in_channels,
        old.out_channels,
        old.kernel_size,
        stride=old.stride,
        padding=old.kernel_size[0] // 2,
        groups=old.groups,
        bias=False,
    )
    module.conv.weight = old.weight

    assert kinds_of_causes(compare(model, digits)) == [(layer, "padding")]


def test_valid_padding_is_found(digits: Case, model: EfficientNet) -> None:
    """A convolution without padding gives a smaller image than the graph's."""
    module = model.get_submodule("stages.1.0.expand")
    old = module.conv
    module.conv = nn.Conv2d(old.in_channels, old.out_channels, old.kernel_size, stride=old.stride, bias=False)
    module.conv.weight = old.weight

    causes = compare(model, digits).causes

    assert causes[0] == ("stages.1.0.expand", "padding: VALID here, SAME in the graph")


def test_padding_that_breaks_a_residual_sum_is_found(digits: Case, model: EfficientNet) -> None:
    """The whole run ends at the addition, and the layers behind it are found to be right by themselves."""
    block = next(one for one in model.config.blocks() if one.config.has_residual and one.config.expansion > 1)
    part = "expand" if block.config.block == "fused" else "depthwise"
    layer = f"stages.{block.stage}.{block.position}.{part}"
    old = model.get_submodule(layer).conv
    new = nn.Conv2d(old.in_channels, old.out_channels, old.kernel_size, groups=old.groups, bias=False)
    new.weight = old.weight
    model.get_submodule(layer).conv = new

    report = compare(model, digits)

    assert report.causes == ((layer, "padding: VALID here, SAME in the graph"),)
    assert find_faulty(report) == [layer]
    assert report.records[-1].shape == () and "not computed" in str(report.records[-1])
    assert "affected by this" in report.findings()[-1]


def test_layer_that_cannot_run_is_found(digits: Case, model: EfficientNet) -> None:
    """A kernel that is larger than its map and a classifier of another width."""
    old = model.get_submodule("stages.2.0.depthwise").conv
    model.get_submodule("stages.2.0.depthwise").conv = nn.Conv2d(
        old.in_channels, old.out_channels, 99, groups=old.groups
    )
    model.classifier = nn.Linear(3, 10)

    report = compare(model, digits)

    assert find_faulty(report) == ["stages.2.0.depthwise", "logits"]
    assert all("not computed" in finding for finding in report.findings()[:2])


def test_wrong_dilation_is_found(digits: Case, model: EfficientNet) -> None:
    """The shapes are the same, so that only values show it."""
    conv = model.get_submodule("stages.1.1.expand.conv")
    conv.dilation, conv.padding = (2, 2), (2, 2)

    causes = compare(model, digits).causes

    assert causes == (("stages.1.1.expand", "dilation: 2 here, 1 in the graph"),)


@pytest.mark.parametrize(
    ("functions", "cause"),
    [
        ({"gate": nn.Hardsigmoid()}, ("se", "gate function: hard_sigmoid here, sigmoid in the graph")),
        ({"act": nn.ReLU()}, ("se.expand", "activation of squeeze-and-excitation: relu here, silu in the graph")),
    ],
    ids=["gate", "activation"],
)
def test_wrong_functions_of_squeeze_and_excitation_are_found(
    digits: Case, model: EfficientNet, functions: dict[str, nn.Module], cause: tuple[str, str]
) -> None:
    """The cause is at the layer after the function."""
    for attribute, function in functions.items():
        setattr(model.get_submodule("stages.2.1.se"), attribute, function)

    assert compare(model, digits).causes == ((f"stages.2.1.{cause[0]}", cause[1]),)


def test_wrong_epsilon_is_found(digits: Case, model: EfficientNet) -> None:
    """PyTorch's default batch norm epsilon differs from the graph's."""
    model.get_submodule("head.bn").eps = 1e-5

    ((layer, cause),) = compare(model, digits).causes
    assert layer == "head"
    assert "1e-05" in cause and "0.001" in cause


def test_epsilon_that_is_added_as_a_constant_is_correct_with_small_variances(tmp_path: pathlib.Path) -> None:
    """Keras 3 adds 0.001 in float32, which is visible in float64; a different epsilon is still found."""
    folder = tmp_path / "exported"
    shutil.copytree(DATA / "keras/keras3/exported", folder)
    with tfckpt.open(folder) as checkpoint:
        variances = [row.key for row in checkpoint.variables() if row.full_name.endswith("/moving_variance")]
        values = {key: np.asarray(checkpoint[key] * np.float32(1e-3)) for key in variances}
    tfckpt.replace(DATA / "keras/keras3/exported", values, folder / "variables" / "variables", overwrite=True)

    case = open_case(str(folder), "raw")
    exact = compare_layers(case.model, case.run, double=True)
    case.model.get_submodule("head.bn").eps = 1e-5
    wrong = compare(case.model, case)
    case.checkpoint.close()

    assert max(max(record.max_rel, record.alone) for record in exact.records) < 1e-13
    assert kinds_of_causes(wrong) == [("head", "batch norm epsilon")]


def test_wrong_stride_is_found(digits: Case, model: EfficientNet) -> None:
    """The first layer with a different shape is faulty."""
    model.get_submodule("stages.1.0.expand.conv").stride = (1, 1)

    report = compare(model, digits)

    assert kinds_of_causes(report)[0] == ("stages.1.0.expand", "stride")
    assert report.first is not None
    assert report.first.reference_shape == (1, 8, 8, 32)


def test_missing_residual_connection_is_found(digits: Case, model: EfficientNet) -> None:
    """The sum of a residual connection has no weights of its own."""
    model.get_submodule("stages.1.1").has_residual = False

    report = compare(model, digits)

    assert [layer for layer, _ in report.causes] == ["stages.1.1.output"]


def test_missing_activation_is_found(digits: Case, model: EfficientNet) -> None:
    """The graph has an activation that the network does not have."""
    model.get_submodule("head").act = torch.nn.Identity()

    ((layer, cause),) = compare(model, digits).causes
    assert layer == "head"
    assert "none" in cause and "silu" in cause


@pytest.mark.parametrize("activation", ["relu", "relu6", "hard_swish", "mish"])
def test_wrong_activation_is_found_with_the_correct_one(
    digits: Case, model: EfficientNet, activation: Activation
) -> None:
    """The experiments try every supported activation."""
    model.get_submodule("stem").act = make_activation(activation)

    cause = dict(compare(model, digits).causes)["stem"]
    assert f" {activation} " in cause and " silu " in cause


def test_nan_does_not_agree(digits: Case, model: EfficientNet) -> None:
    """NaN is not within any tolerance."""
    model.state_dict()["stem.bn.bias"][0] = float("nan")

    report = compare_layers(model, digits.run)

    assert not report.ok
    assert report.first is not None
    assert report.first.layer == "stem"
    assert report.to_dict()["layers"][0]["max_rel"] is None


def test_report_with_findings_raises_an_error_with_all_of_them(digits: Case, model: EfficientNet) -> None:
    """The error names the first faulty layer and has the report."""
    model.get_submodule("stages.2.0.depthwise.bn").eps = 1e-5
    report = compare(model, digits)

    with pytest.raises(VerificationError, match=r"stages\.2\.0\.depthwise") as caught:
        report.require()

    assert caught.value.report is report
    assert all(finding in str(caught.value) for finding in report.findings())
    assert report.causes[0][1] in str(caught.value)


def test_given_tolerance_replaces_the_noise(digits: Case) -> None:
    """No layer is within a tolerance of 0 in float32, and every layer within 1e-4."""
    assert not compare_layers(digits.model, digits.run, tolerance=0.0).ok
    assert compare_layers(digits.model, digits.run, tolerance=1e-4).ok


def test_ill_conditioned_network_is_judged_in_float64(digits: Case) -> None:
    """If the oracle's own float32 differs much from its float64, float32 proves nothing."""
    noisy = {layer: value * (1 + 2e-4) for layer, value in digits.run.exact.items()}
    run = OracleRun(digits.pairing, digits.run.probe, digits.run.exact, noisy, "noisy")
    calm = compare_layers(digits.model, digits.run)

    report = compare_layers(digits.model, run)

    assert report.ok
    assert (report.dtype, report.ill_conditioned) == ("float64", True)
    assert (calm.dtype, calm.ill_conditioned) == ("float32", False)


def test_float64_decides_if_no_layer_is_at_fault_alone(digits: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle's noise in a layer of a single value can be tiny by chance; a given tolerance still counts."""
    monkeypatch.setitem(LEAST_NOISE, "float32", 1e-12)
    run = OracleRun(digits.pairing, digits.run.probe, digits.run.exact, digits.run.exact, "without noise")

    report = compare_layers(digits.model, run)

    assert (report.ok, report.dtype, report.ill_conditioned) == (True, "float64", False)
    assert not compare_layers(digits.model, run, tolerance=1e-12).ok


def test_measure_compares_shapes_and_zeros() -> None:
    """Arrays of different shapes have an infinite difference, and zeros have none."""
    zeros = np.zeros((1, 2))

    assert measure(zeros, np.zeros((2, 1)))[0] == float("inf")
    assert measure(zeros, zeros) == (0.0, 0.0, 1.0)
    assert measure(zeros + 1, zeros)[1] == float("inf")


def test_graph_that_returns_other_values_than_the_logits_is_a_finding(digits: Case) -> None:
    """The cause is a scale and shift if it is one; another output next to the logits changes nothing."""
    logits = digits.run.exact["logits"]
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)

    def compare_with(**outputs: np.ndarray) -> LayersReport:  # type: ignore[type-arg]
        return compare_layers(digits.model, dataclasses.replace(digits.run, outputs=outputs), double=True)

    scaled = compare_with(scaled=2 * logits + 1)

    assert [record.function for record in compare_with(plain=logits, shares=shares).outputs] == [
        "the logits",
        "the softmax of the logits",
    ]
    assert not scaled.ok
    assert scaled.outputs[0].cause == "the graph multiplies the logits by 2 and adds 1"
    assert compare_with(plain=logits, scaled=2 * logits).ok


def test_pairing_does_not_depend_on_names(digits: Case) -> None:
    """If every node is renamed to a number, the same layers are found, since variables are identified by their keys."""
    graph = digits.graph.graph
    names = {node.name: f"n{number}" for number, node in enumerate(graph)}

    def rename(reference: str) -> str:
        control, name = ("^", reference[1:]) if reference.startswith("^") else ("", reference)
        node, colon, output = name.partition(":")
        return f"{control}{names[node]}{colon}{output}"

    nodes = tuple(Node(names[node.name], node.op, tuple(map(rename, node.inputs)), node.attributes) for node in graph)
    bare = type(digits.graph)(Graph(nodes), path="renamed", checkpoint=digits.checkpoint)
    assert digits.planned.config is not None

    pairing = pair_layers(bare, digits.planned.config, keys_of(digits.planned), "averages")

    assert [pair.layer for pair in pairing.pairs] == [pair.layer for pair in digits.pairing.pairs]
    assert [pair.tensor for pair in pairing.pairs] == [names[pair.tensor] for pair in digits.pairing.pairs]


@pytest.mark.parametrize(
    ("name", "part", "layer"),
    [
        ("hard-sigmoid", "se.gate", "se"),
        ("hard-swish", "se.act", "se.expand"),
        ("hard-swish", "depthwise.act", "depthwise"),
        ("relu", "expand.act", "expand"),
    ],
)
def test_wrong_function_is_found_whatever_the_right_one_is_made_of(name: str, part: str, layer: str) -> None:
    """A hard swish is five operations in the graph; a network that has another function there differs in that layer."""
    case = open_case(f"deviations/{name}.tgz", "raw")
    wrong = nn.Sigmoid() if part == "se.gate" else nn.SiLU()
    block = case.model.get_submodule("stages.1.0")

    before = compare_layers(case.model, case.run, double=True)
    block.set_submodule(part, wrong)
    after = compare_layers(case.model, case.run, double=True)
    case.checkpoint.close()

    assert before.ok
    assert find_faulty(after)[0] == f"stages.1.0.{layer}"


def test_graph_of_another_checkpoint_is_refused_with_the_missing_variables(digits: Case) -> None:
    """The error lists every variable of the network that the graph does not have."""
    other = open_case("savedmodel", "raw")
    assert digits.planned.config is not None

    with pytest.raises(GraphError) as caught:
        pair_layers(other.graph, digits.planned.config, keys_of(digits.planned), "averages")
    other.checkpoint.close()

    assert len(str(caught.value).splitlines()) == 114
    assert "efficientnetv2-digits/stem/conv2d/kernel/ExponentialMovingAverage (stem.conv.weight)" in str(caught.value)


def test_graph_without_some_layers_is_refused(digits: Case) -> None:
    """The error names the layer of a kernel that is not used."""
    keys = keys_of(digits.planned)
    keys["stages.3.0.expand.conv.weight"] = keys["head.bn.bias"]
    assert digits.planned.config is not None

    with pytest.raises(GraphError, match=r"\n  stages\.3\.0\.expand: .*head"):
        pair_layers(digits.graph, digits.planned.config, keys, "averages")


def test_batch_norm_of_another_layer_is_refused(digits: Case) -> None:
    """The batch norm after a convolution has to have the variables of the conversion."""
    keys = keys_of(digits.planned)
    keys["stem.bn.weight"], keys["head.bn.weight"] = keys["head.bn.weight"], keys["stem.bn.weight"]
    assert digits.planned.config is not None

    with pytest.raises(GraphError, match=r"\n  stem: .*stem.*\n  head: .*head"):
        pair_layers(digits.graph, digits.planned.config, keys, "averages")


def test_graph_without_inference_is_refused(digits: Case) -> None:
    """A graph that only has the variables proves nothing."""
    kept = tuple(node for node in digits.graph.graph if node.op in ("VarHandleOp", "Const", "ReadVariableOp"))
    empty = type(digits.graph)(Graph(kept), path="bare", checkpoint=digits.checkpoint)
    assert digits.planned.config is not None

    with pytest.raises(GraphError, match="head/dense/kernel"):
        pair_layers(empty, digits.planned.config, keys_of(digits.planned), "averages")


def test_checkpoint_without_a_graph_has_no_oracle() -> None:
    """Object-based weights have no graph."""
    from converter.verification.oracle import build_oracle

    with tfckpt.open(DATA / "objects") as checkpoint:
        assert build_oracle(checkpoint) is None
        assert plan_conversion(checkpoint, ConversionOptions(strides=(1, 2, 2, 1))).config is not None
