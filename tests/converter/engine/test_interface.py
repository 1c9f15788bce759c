"""The interface of a module: names of its inputs and outputs, weights of frozen graphs, fixed values, and export."""

from __future__ import annotations

import gc
import inspect
import keyword
from pathlib import Path

import numpy as np
import pytest
import torch

from converter.engine import ReferenceGraph, graph_module
from converter.engine.ports import make_identifiers
from converter.engine.reference_graph import Survey
from converter.errors import FeedError, GraphError, TensorNameError
from tests.converter.exported import export_to_onnx
from tfckpt.graphs.meta_graph import Signature, SignatureTensor

from .graphs import boolean, constant, graph, integers, node, placeholder, write_frozen

DYNAMIC = torch.export.Dim.DYNAMIC
HOSTILE = ["0/discount", "class", "x:0", "x", "self", "a b", "__import__('os').system('true')", "ﬁ", "x\n", ""]


def with_signature(loaded: ReferenceGraph, inputs: dict[str, str], outputs: dict[str, str]) -> ReferenceGraph:
    """Return the graph with a signature of float32 tensors."""
    tensors = [
        {key: SignatureTensor(name, "float32", (-1,)) for key, name in names.items()} for names in (inputs, outputs)
    ]
    signatures = {"serve": Signature("serve", tensors[0], tensors[1], "predict")}
    return ReferenceGraph(loaded.graph, path="handmade", signatures=signatures)


def test_arguments_are_different_valid_names_for_keys_of_any_kind() -> None:
    """Names of strangers become Python names, and both they and the keys are accepted."""
    parts = [part for n, _ in enumerate(HOSTILE) for part in (placeholder(f"p{n}", -1), node(f"y{n}", "Neg", f"p{n}"))]
    keys = {key: f"p{n}:0" for n, key in enumerate(HOSTILE)}
    module = graph_module(with_signature(graph(*parts), keys, {f"{key}!": f"y{n}:0" for n, key in enumerate(HOSTILE)}))
    values = [torch.full((2,), float(n)) for n, _ in enumerate(HOSTILE)]

    names = list(inspect.signature(module.forward).parameters)
    by_name = module(**dict(zip(names, values, strict=True)))
    keywords = dict(zip(HOSTILE, values, strict=True))
    by_key = module(**{(names[4] if key == "self" else key): value for key, value in keywords.items()})

    assert len(set(names)) == len(HOSTILE)
    assert all(name.isidentifier() and name.isascii() and not keyword.iskeyword(name) for name in names)
    assert "self" not in names
    assert [port.key for port in module.inputs] == HOSTILE
    for n, key in enumerate(HOSTILE):
        assert by_name[f"{key}!"].tolist() == by_key[f"{key}!"].tolist() == [-n, -n]


def test_many_names_that_are_no_identifiers_take_linear_time() -> None:
    """All of them would get the same identifier; with a search from the first number this test takes minutes."""
    identifiers = make_identifiers(["+"] * 50_000)

    assert identifiers[:3] == ["tensor", "tensor_2", "tensor_3"]
    assert len(set(identifiers)) == 50_000


def test_exported_program_has_the_names_of_the_signature() -> None:
    """Dynamic shapes are given by name, and the program takes inputs by name and returns a dict by key."""
    loaded = with_signature(
        graph(placeholder("a", -1), placeholder("b", -1), node("y", "Sub", "a", "b")),
        {"Left": "a:0", "0/right": "b:0"},
        {"Difference": "y:0"},
    )
    module = graph_module(loaded)
    example = {"Left": torch.arange(3.0), "tensor_0_right": torch.ones(3)}

    program = torch.export.export(module, (), example, dynamic_shapes={key: {0: DYNAMIC} for key in example})

    result = program.module()(Left=torch.arange(5.0), tensor_0_right=torch.ones(5))
    assert result["Difference"].tolist() == [-1, 0, 1, 2, 3]
    assert [port.tensor for port in module.inputs] == ["a:0", "b:0"]


FROZEN = (
    placeholder("x", -1, 3),
    constant("dense/kernel", 2.0, 3, 2),
    node("dense/kernel/read", "Identity", "dense/kernel"),
    constant("dense/bias/ReadVariableOp/resource", 1.0, 2),
    node("dense/bias/ReadVariableOp", "Identity", "dense/bias/ReadVariableOp/resource"),
    node("product", "MatMul", "x", "dense/kernel/read"),
    node("sum", "BiasAdd", "product", "dense/bias/ReadVariableOp"),
    constant("scale", 0.5, 1),
    node("scale/read", "Identity", "scale"),
    constant("half", 0.5),
    node("scaled", "Mul", "sum", "scale/read"),
    node("y", "Mul", "scaled", "half"),
)


def test_weights_of_a_frozen_graph_are_parameters_with_the_names_of_their_nodes(tmp_path: Path) -> None:
    """A vector of one element that is read as a variable is one; a number of the formula is not."""
    module = graph_module(write_frozen(tmp_path / "frozen.pb", *FROZEN), inputs="x", outputs="y")

    y = module(torch.ones(1, 3))
    y.sum().backward()

    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    assert shapes == {"dense.kernel": (3, 2), "dense.bias": (2,), "scale": (1,)}
    assert module.variable_names["dense.bias"] == "dense/bias/ReadVariableOp/resource"
    assert y.tolist() == [[1.75, 1.75]]
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())
    assert module.state_dict().keys() == shapes.keys()


def test_statistics_of_a_frozen_batch_norm_are_buffers() -> None:
    """The mean and variance are recognised by their place, whatever they are called."""
    parts = (
        placeholder("x", -1, 1, 1, 2),
        *(constant(name, value, 2) for name, value in (("g", 1.0), ("b", 0.5), ("m", 2.0), ("v", 4.0))),
        node(
            "n", "FusedBatchNorm", "x", "g", "b", "m", "v", attributes='attr { key: "is_training" value { b: false } }'
        ),
        constant("other/moving_mean", 1.0, 2),
        node("y", "Sub", "n", "other/moving_mean"),
    )

    module = graph_module(graph(*parts), inputs="x", outputs="y")

    assert {name for name, _ in module.named_parameters()} == {"g", "b"}
    assert {name for name, _ in module.named_buffers()} == {"m", "v", "other.moving_mean"}


def phase() -> ReferenceGraph:
    """Return a graph with one branch for training, and a factor."""
    return graph(
        placeholder("x", -1),
        node("is_training", "Placeholder", attributes='attr { key: "dtype" value { type: 10 } }'),
        placeholder("factor"),
        node("switch", "Switch", "x", "is_training"),
        node("train", "Strange", "switch:1"),
        node("merge", "Merge", "switch", "train"),
        node("y", "Mul", "merge", "factor"),
    )


def test_constants_decide_branches_and_are_not_inputs() -> None:
    """A fixed value removes the branch for training before its operations are checked."""
    module = graph_module(phase(), outputs="y", constants={"is_training": False, "factor:0": 3.0})

    assert module.input_names == ("x",)
    assert module(torch.ones(2)).tolist() == [3, 3]


def test_constant_that_does_not_exist_or_does_not_fit_is_refused() -> None:
    """The errors are those of a tensor and of a feed; the nearest name is given."""
    with pytest.raises(TensorNameError) as unknown:
        graph_module(phase(), outputs="y", constants={"is_trainig": False})
    with pytest.raises(FeedError):
        graph_module(phase(), outputs="y", constants={"is_training": False, "factor": "much"})

    assert "is_training" in unknown.value.close_names


def test_error_for_missing_outputs_names_the_ends_of_the_graph() -> None:
    """Nothing is guessed, but the candidates are listed."""
    with pytest.raises(GraphError, match="second"):
        graph_module(graph(placeholder("x"), node("first", "Neg", "x"), node("second", "Neg", "first")))


@pytest.mark.parametrize("dtype", [3, 9])
def test_shape_as_an_output_is_exported_for_any_batch(dtype: int) -> None:
    """The sizes keep the dtype that the node declares."""
    kind = f'attr {{ key: "out_type" value {{ type: {dtype} }} }}'
    module = graph_module(graph(placeholder("x", -1, 3), node("y", "Shape", "x", attributes=kind)), outputs="y")

    program = torch.export.export(module, (torch.zeros(2, 3),), dynamic_shapes={"x": {0: DYNAMIC}})

    for size in (2, 5):
        result = program.module()(torch.zeros(size, 3))
        assert result.tolist() == [size, 3]
        assert result.dtype == module(torch.zeros(size, 3)).dtype == (torch.int32 if dtype == 3 else torch.int64)


def test_number_of_the_graph_is_a_number_in_the_exported_program() -> None:
    """A range with a floating-point step is exported, and a factor needs no tensor."""
    parts = (
        placeholder("x", 4),
        constant("start", 0.0),
        constant("limit", 2.0),
        constant("step", 0.5),
        node("range", "Range", "start", "limit", "step", attributes='attr { key: "Tidx" value { type: 1 } }'),
        node("sum", "Add", "x", "range"),
        node("y", "Mul", "sum", "step"),
    )
    module = graph_module(graph(*parts), inputs="x", outputs="y")

    program = torch.export.export(module, (torch.ones(4),))

    assert program.module()(torch.ones(4)).tolist() == [0.5, 0.75, 1.0, 1.25]
    assert not any("item" in str(call.target) or "lift" in str(call.target) for call in program.graph.nodes)


def test_sizes_computed_in_floating_point_are_exported_for_any_size() -> None:
    """A size that is cast, halved and cast back stays a symbol."""
    to_float = 'attr { key: "SrcT" value { type: 3 } } attr { key: "DstT" value { type: 1 } }'
    to_int = 'attr { key: "SrcT" value { type: 1 } } attr { key: "DstT" value { type: 3 } }'
    parts = (
        placeholder("x", -1),
        node("shape", "Shape", "x"),
        node("float", "Cast", "shape", attributes=to_float),
        constant("half", 0.5),
        node("halved", "Mul", "float", "half"),
        node("rows", "Cast", "halved", attributes=to_int),
        constant("one", 1.0),
        node("y", "Fill", "rows", "one"),
    )
    module = graph_module(graph(*parts), inputs="x", outputs="y")

    program = torch.export.export(module, (torch.zeros(8),), dynamic_shapes={"x": {0: DYNAMIC}})

    assert [program.module()(torch.zeros(size)).shape for size in (8, 11)] == [(4,), (5,)]


def test_conversion_to_the_same_dtype_leaves_nothing_in_the_exported_program() -> None:
    """PyTorch would record a check of the device."""
    kind = 'attr { key: "SrcT" value { type: 3 } } attr { key: "DstT" value { type: 3 } }'
    parts = (
        node("x", "Placeholder", attributes='attr { key: "dtype" value { type: 3 } }'),
        node("cast", "Cast", "x", attributes=kind),
        integers("axis", 0),
        node("y", "Sum", "cast", "axis"),
    )
    module = graph_module(graph(*parts), inputs="x", outputs="y")

    program = torch.export.export(module, (torch.ones(3, dtype=torch.int32),))

    targets = [str(call.target) for call in program.graph.nodes]
    assert not [target for target in targets if "metadata" in target]


def test_selection_between_booleans_runs_in_onnx() -> None:
    """Runtimes of ONNX do not select booleans, so logic takes its place."""
    parts = (
        placeholder("x", 3),
        constant("zero", 0.0),
        node("c", "Greater", "x", "zero"),
        boolean("yes", True),
        node("n", "Less", "x", "zero"),
        node("y", "SelectV2", "c", "yes", "n"),
    )
    module = graph_module(graph(*parts), inputs="x", outputs="y")

    run = export_to_onnx(module, torch.zeros(3), None)

    assert run(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [True, False, True]


@pytest.mark.parametrize("op", ["Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool"])
def test_window_larger_than_the_image_gives_an_empty_tensor(op: str) -> None:
    """As in TensorFlow, if nothing is padded; one more row gives a pixel."""

    def numbers(name: str, *values: int) -> str:
        return f'attr {{ key: "{name}" value {{ list {{ {" ".join(f"i: {value}" for value in values)} }} }} }}'

    attributes = f"{numbers('strides', 1, 1, 1, 1)} {numbers('ksize', 1, 3, 3, 1)}"
    parts = [placeholder("x", -1, -1, -1, 2), constant("k", 1.0, 3, 3, 2, 1)]
    inputs = ("x",) if "Pool" in op else ("x", "k")
    loaded = graph(*parts, node("y", op, *inputs, attributes=attributes))

    assert loaded.run("y", {"x": np.ones((1, 2, 4, 2), np.float32)}).shape[:3] == (1, 0, 2)
    assert loaded.run("y", {"x": np.ones((1, 3, 4, 2), np.float32)}).shape[:3] == (1, 1, 2)


GRIDS = {"half_pixel_centers": True}, {"align_corners": True}, {}


@pytest.mark.parametrize("grid", GRIDS, ids=["half pixel", "aligned", "first version"])
@pytest.mark.parametrize("op", ["ResizeBilinear", "ResizeNearestNeighbor"])
def test_resize_is_exported_for_any_height_and_width(op: str, grid: dict[str, bool]) -> None:
    """The program is right at sizes other than that of the export, for twice the size and for a fixed one."""
    flags = " ".join(f'attr {{ key: "{name}" value {{ b: true }} }}' for name in grid)
    parts = (
        placeholder("x", -1, -1, -1, 2),
        node("shape", "Shape", "x"),
        integers("begin", 1),
        integers("end", 3),
        integers("step", 1),
        integers("two", 2, 2),
        node("size", "StridedSlice", "shape", "begin", "end", "step"),
        node("double", "Mul", "size", "two"),
        node("a", op, "x", "double", attributes=flags),
        integers("fixed", 7, 9),
        node("b", op, "x", "fixed", attributes=flags),
    )
    module = graph_module(graph(*parts), inputs="x", outputs=["a", "b"])

    program = torch.export.export(module, (torch.randn(1, 6, 8, 2),), dynamic_shapes={"x": {1: DYNAMIC, 2: DYNAMIC}})

    for size in ((6, 8), (5, 11), (13, 3)):
        x = torch.randn(1, *size, 2)
        for actual, expected in zip(program.module()(x), module(x), strict=True):
            torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_range_of_a_quantization_may_be_a_weight() -> None:
    """Frozen graphs of training with quantization have it as variables; the steps are the same as with numbers."""
    parts = (
        placeholder("x", -1),
        *(constant(name, value) for name, value in (("low", -1.5), ("high", 2.25))),
        *(node(f"{name}/read", "Identity", name) for name in ("low", "high")),
        node("y", "FakeQuantWithMinMaxVars", "x", "low/read", "high/read"),
        node("z", "FakeQuantWithMinMaxVars", "x", "low", "high"),
    )
    loaded, x = graph(*parts), torch.linspace(-3, 3, 500)
    module = graph_module(loaded, inputs="x", outputs="y")

    program = torch.export.export(module, (x,)).module()

    assert {name for name, _ in module.named_parameters()} == {"low", "high"}
    assert torch.equal(program(x), torch.tensor(loaded.run("z", {"x": x.numpy()})))


def test_few_plans_are_kept() -> None:
    """Each fetch of another tensor makes a plan, which nobody may use again; the results stay right."""
    count = 50
    loaded = graph(placeholder("x", -1), *(node(f"y{n}", "Neg", "x" if n == 0 else f"y{n - 1}") for n in range(count)))
    x = np.float32([1, 2])
    before = _count_surveys()

    for n in range(count):
        assert loaded.run([f"y{n}:0"], {"x:0": x})[0].tolist() == [(-1.0) ** (n + 1), 2 * (-1.0) ** (n + 1)]

    assert loaded.survey(["y49:0"], {"x:0": None}) is loaded.survey(["y49:0"], {"x:0": None})
    assert 0 < _count_surveys() - before <= 17


def _count_surveys() -> int:
    gc.collect()
    return sum(type(thing) is Survey for thing in gc.get_objects())
