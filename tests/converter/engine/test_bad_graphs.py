"""Graphs that cannot be run, each beside the nearest one that can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfckpt
from converter.engine import ReferenceLimits, load_graph
from converter.errors import FeedError, GraphError, GraphLimitError, TensorNameError, UnsupportedOpError
from tfckpt.errors import CheckpointNotFoundError, CorruptionError, LimitExceededError
from tfckpt.limits import Limits

from .graphs import call, constant, function, graph, integers, node, placeholder, refer, truth, write
from .test_fixtures import DATA, DIGITS_LOGITS, read

ONES = np.ones(2, np.float32)


def test_unsupported_operations_are_listed_together_before_anything_runs() -> None:
    """One error names each node and its operation, those in functions included; nothing has run by then."""
    bad = graph(
        placeholder("x"),
        node("a", "FirstStrange", "x"),
        call("b", "f", "a"),
        node("division", "FloorDiv", "zero", "zero"),
        integers("zero", 0),
        node("c", "AddN", "b", "division"),
        function("f", node("inner", "SecondStrange", "x"), returns="inner:y:0"),
    )

    with pytest.raises(UnsupportedOpError) as caught:
        bad.run("c", {"x": 1.0})

    assert caught.value.ops == (("a", "FirstStrange"), ("b/inner", "SecondStrange"))
    assert "SecondStrange at b/inner" in str(caught.value)


def test_unsupported_operations_beside_the_path_do_not_matter() -> None:
    """What the fetches do not need may be anything."""
    good = graph(placeholder("x"), node("a", "Strange", "x"), node("b", "Neg", "x", "^a"))

    assert good.run("b", {"x": 2.0}) == -2


def test_unsupported_operations_behind_a_fed_tensor_do_not_matter() -> None:
    """A tensor that is given is not computed."""
    good = graph(placeholder("x"), node("a", "Strange", "x"), node("b", "Neg", "a"))

    assert good.run("b", {"a": 2.0}) == -2


def test_unsupported_operation_of_a_branch_is_found_before_anything_runs() -> None:
    """Either branch of an If may be taken, so both have to run."""
    branches = f"{refer('then_branch', 'f')} {refer('else_branch', 'g')}"
    parts = (
        placeholder("x"),
        node("p", "Greater", "x", "x"),
        node("b", "If", "p", "x", attributes=branches),
        function("f", node("inner", "Strange", "x"), returns="inner:y:0"),
        function("g", node("inner", "Neg", "x"), returns="inner:y:0"),
    )

    with pytest.raises(UnsupportedOpError, match="Strange at f/inner"):
        graph(*parts).run("b", {"x": 1.0})


@pytest.mark.parametrize("feeds", [{}, {"p": False}], ids=["constant", "fed"])
def test_branch_that_is_not_taken_does_not_matter(feeds: dict[str, bool]) -> None:
    """A predicate that is known in advance leaves one branch, and only that one has to run."""
    branches = f"{refer('then_branch', 'f')} {refer('else_branch', 'g')}"
    good = graph(
        placeholder("x"),
        truth("p", bool(feeds)),
        node("b", "If", "p", "x", attributes=branches),
        function("f", node("inner", "Strange", "x"), returns="inner:y:0"),
        function("g", node("inner", "Neg", "x"), returns="inner:y:0"),
    )

    assert good.run("b", {"x": 2.0, **feeds}) == -2


@pytest.mark.parametrize("is_training", [True, False])
def test_learning_phase_decides_between_switch_outputs(is_training: bool) -> None:
    """As programs of TensorFlow 1 have it: training's branch cannot run here, and need not while the phase is 0."""
    phase = graph(
        placeholder("x"),
        truth("default", False),
        node("phase", "PlaceholderWithDefault", "default", attributes='attr { key: "dtype" value { type: 10 } }'),
        node("switch", "Switch", "x", "phase"),
        node("dropout", "RandomUniform", "switch:1"),
        node("out", "Merge", "switch", "dropout"),
    )

    if is_training:
        with pytest.raises(UnsupportedOpError, match="RandomUniform at dropout"):
            phase.run("out", {"x": 2.0, "phase": True})
    else:
        assert phase.run("out", {"x": 2.0}) == 2


def test_tensor_on_a_branch_that_is_not_taken_cannot_be_fetched() -> None:
    """The other output of the Switch has no value."""
    phase = graph(placeholder("x"), truth("p", False), node("switch", "Switch", "x", "p"))

    assert phase.run("switch:0", {"x": 2.0}) == 2
    with pytest.raises(GraphError, match="branch that is not taken"):
        phase.run("switch:1", {"x": 2.0})


def test_circle_is_refused() -> None:
    """A tensor that depends on itself is named with the nodes on the way round."""
    bad = graph(placeholder("x"), node("a", "Add", "x", "c"), node("b", "Neg", "a"), node("c", "Neg", "b"))

    with pytest.raises(GraphError, match=r"in a circle: .*a -> .*"):
        bad.run("c", {"x": 1.0})


def test_diamond_is_no_circle() -> None:
    """A tensor that is used twice is computed once, and no circle."""
    good = graph(placeholder("x"), node("a", "Neg", "x"), node("b", "Neg", "a"), node("c", "Add", "a", "b"))

    assert good.run("c", {"x": 3.0}) == 0


def test_circle_of_names_that_are_passed_on_is_refused() -> None:
    """IdentityN is looked through, and looking ends all the same."""
    bad = graph(node("a", "IdentityN", "b"), node("b", "IdentityN", "a"), limits=ReferenceLimits(max_operations=100))

    with pytest.raises(GraphLimitError, match="max_operations=100"):
        bad.run("a")


def test_missing_function_is_named() -> None:
    """The call and the function it wants are in the message, with a close name."""
    parts = (placeholder("x"), function("double", node("y", "Add", "x", "x"), returns="y:z:0"))

    assert graph(*parts, call("a", "double", "x")).run("a", {"x": 2.0}) == 4
    with pytest.raises(GraphError, match=r"a \(PartitionedCall\): calls the function doubl, .*; close names: double"):
        graph(*parts, call("a", "doubl", "x")).run("a", {"x": 2.0})


def test_missing_node_is_named() -> None:
    """A reference to nothing says what was wanted."""
    with pytest.raises(GraphError, match=r"refers to placeholde, which is not there; close names: placeholder"):
        graph(placeholder("placeholder"), node("a", "Neg", "placeholde")).run("a", {})


def test_missing_output_is_refused() -> None:
    """A number after a node's name counts its outputs, from 0; there is no other way to count."""
    parts = (placeholder("x"), node("y", "Neg", "x"))

    assert graph(*parts, node("z", "Neg", "y:0")).run("z", {"x": 1.0}) == 1
    with pytest.raises(GraphError, match=r"z \(Neg\): an output is asked for that its node does not have"):
        graph(*parts, node("z", "Neg", "y:3")).run("z", {"x": 1.0})
    with pytest.raises(GraphError, match="an output is asked for"):
        graph(*parts).run("y:1", {"x": 1.0})
    with pytest.raises(GraphError, match="a reference that is none: 'y:-1'"):
        graph(*parts, node("z", "Neg", "y:-1")).run("z", {"x": 1.0})


def test_unknown_fetch_offers_close_names() -> None:
    """A wrong name is an error with the names a person may have meant."""
    good = graph(placeholder("image"), node("logits", "Neg", "image"))

    with pytest.raises(TensorNameError) as caught:
        good.run("logit", {"image": 1.0})

    assert (caught.value.name, caught.value.close_names) == ("logit", ("logits",))
    assert isinstance(caught.value, KeyError)


def test_unknown_name_inside_a_function_offers_names_of_that_function() -> None:
    """Close names are looked for where the path leads."""
    with pytest.raises(
        TensorNameError, match=r"close names: StatefulPartitionedCall/StatefulPartitionedCall/efficient"
    ):
        load_graph(DATA / "savedmodel").run(
            "StatefulPartitionedCall/StatefulPartitionedCall/efficientnetv2-b0/stem/mul_9", {}
        )


def test_unknown_feed_is_refused() -> None:
    """A feed that would change nothing is a mistake."""
    good = graph(placeholder("image"), node("logits", "Neg", "image"))

    with pytest.raises(TensorNameError, match=r"no tensor imag; close names: image"):
        good.run("logits", {"imag": 1.0})


def test_missing_feed_is_named() -> None:
    """A placeholder without a value says so."""
    with pytest.raises(GraphError, match=r"image \(Placeholder\): needs a value: feed it"):
        graph(placeholder("image"), node("logits", "Neg", "image")).run("logits")


@pytest.mark.parametrize(
    ("shape", "is_right"),
    [((2, 3), True), ((7, 3), True), ((0, 3), True), ((2, 4), False), ((3,), False), ((1, 2, 3), False)],
)
def test_feed_has_the_shape_of_its_placeholder(shape: tuple[int, ...], is_right: bool) -> None:
    """Open dimensions take any size, all others their own."""
    good = graph(placeholder("x", -1, 3), node("y", "Neg", "x"))

    if is_right:
        assert good.run("y", {"x": np.ones(shape, np.float32)}).shape == shape
    else:
        with pytest.raises(FeedError, match=r"and the graph has \[\?, 3\] there"):
            good.run("y", {"x": np.ones(shape, np.float32)})


@pytest.mark.parametrize(
    ("value", "is_right"),
    [
        (np.ones(2, np.float32), True),
        (np.ones(2, np.float64), True),
        (np.ones(2, np.float16), True),
        ([1.0, 2.0], True),
        ([1, 2], True),
        (np.ones(2, np.int32), False),
        (np.ones(2, bool), False),
        (["a", "b"], False),
    ],
)
def test_feed_has_the_type_of_its_placeholder(value: object, is_right: bool) -> None:
    """Every width of floating-point numbers is taken, and lists of numbers; other types of arrays are not."""
    good = graph(placeholder("x", 2), node("y", "Neg", "x"))

    if is_right:
        assert good.run("y", {"x": value}).dtype == np.float32
    else:
        with pytest.raises(FeedError, match="and the graph has float32 there"):
            good.run("y", {"x": value})


def test_same_tensor_cannot_be_fed_twice() -> None:
    """Two spellings of one tensor would leave open which value counts."""
    with pytest.raises(FeedError, match="fed twice"):
        graph(placeholder("x"), node("y", "Neg", "x")).run("y", {"x": 1.0, "x:0": 2.0})


def test_variables_of_another_checkpoint_are_listed() -> None:
    """Each variable the checkpoint lacks is a line with the name that was looked for."""
    stranger = tfckpt.open(DATA / "objects")
    digits = load_graph(DATA / "digits" / "efficientnetv2-digits", checkpoint=stranger)

    with pytest.raises(GraphError) as caught:
        digits.run(DIGITS_LOGITS, {"input": read("digits/probe.npz")["input"]})

    lines = str(caught.value).splitlines()
    assert "do not fit: 113 of 113 variables" in lines[0]
    assert len(lines) == 114
    assert any(
        line.startswith("  efficientnetv2-digits/head_1/dense/kernel: efficientnetv2-digits/head/") for line in lines
    )


def test_variable_of_another_shape_is_listed() -> None:
    """A name that is there with another shape is said to be so; the right shape runs."""
    checkpoint = tfckpt.open(DATA / "digits" / "efficientnetv2-digits")
    name = "efficientnetv2-digits/head/dense/bias"

    def variable(size: int) -> str:
        shape = f'attr {{ key: "shape" value {{ shape {{ dim {{ size: {size} }} }} }} }}'
        return node(name, "VarHandleOp", attributes=shape) + node("read", "ReadVariableOp", name)

    assert graph(variable(10), checkpoint=checkpoint).run("read").shape == (10,)
    with pytest.raises(GraphError, match=r"has shape \[10\], and the graph's variable \[11\]"):
        graph(variable(11), checkpoint=checkpoint).run("read")


def test_variables_need_a_checkpoint(tmp_path: Path) -> None:
    """A `.meta` file alone shows its operations, and cannot run those that read variables."""
    source = next((DATA / "digits" / "efficientnetv2-digits").glob("*.meta"))
    (tmp_path / "model.ckpt-1.meta").write_bytes(source.read_bytes())

    alone = load_graph(tmp_path / "model.ckpt-1.meta")

    assert len(alone.operations([DIGITS_LOGITS], ["input"])) > 100
    with pytest.raises(GraphError, match="there is no checkpoint with it"):
        alone.run(DIGITS_LOGITS, {"input": read("digits/probe.npz")["input"]})


def test_averages_have_to_be_there() -> None:
    """Asking for averages of a checkpoint that has none is an error and not the raw values."""
    with pytest.raises(GraphError, match="has no moving averages"):
        load_graph(DATA / "savedmodel").run(
            "StatefulPartitionedCall",
            {"serving_default_image": read("savedmodel/golden.npz")["input"]},
            weights="averages",
        )


def test_unknown_weights_and_dtypes_are_refused() -> None:
    """Misuse is Python's own error."""
    good = graph(constant("x", 1.0))

    with pytest.raises(ValueError, match="weights is one of graph, raw, averages"):
        good.run("x", weights="ema")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="float32 or float64, not in float16"):
        good.run("x", dtype="float16")


def test_huge_constant_is_refused() -> None:
    """A constant may claim any shape with one stored value; what it claims is limited."""
    parts = (constant("x", 1.0, 1000, 1000), node("y", "Neg", "x"))

    assert graph(*parts).run("y").shape == (1000, 1000)
    with pytest.raises(LimitExceededError, match="max_constant_bytes"):
        graph(*parts, file_limits=Limits(max_constant_bytes=1_000_000)).run("y")


@pytest.mark.parametrize("op", ["Fill", "Tile", "BroadcastTo", "Pad", "OneHot", "Range"])
def test_huge_tensor_is_refused_before_it_is_made(op: str) -> None:
    """Operations whose output's size is a number in the graph are limited, and run below the limit."""

    def parts(size: int) -> tuple[str, ...]:
        scalars = [constant("one", 1.0), constant("row", 1.0, 1)]
        numbers = [integers("size", size), integers("zero", 0), integers("step", 1), integers("pads", 0, size)]
        numbers += [node("pads2", "Reshape", "pads", "two"), integers("two", 1, 2), node("n", "Squeeze", "size")]
        inputs = {
            "Fill": ("size", "one"),
            "Tile": ("row", "size"),
            "BroadcastTo": ("row", "size"),
            "Pad": ("row", "pads2"),
            "OneHot": ("zero", "n", "one", "one"),
            "Range": ("zero", "n", "step"),
        }[op]
        return (*scalars, *numbers, node("y", op, *inputs))

    limits = ReferenceLimits(max_tensor_bytes=4000)
    assert graph(*parts(100), limits=limits).run("y").size >= 100
    with pytest.raises(GraphLimitError) as caught:
        graph(*parts(2_000_000_000), limits=limits).run("y")
    assert (caught.value.limit, caught.value.node) == ("max_tensor_bytes", "y")


def test_function_that_calls_itself_is_refused() -> None:
    """A call without end runs into a limit by name, and a chain below the limit runs."""
    endless = graph(
        placeholder("x"), call("a", "f", "x"), function("f", call("again", "f", "x"), returns="again:out_0:0")
    )
    chain = [function(f"f{n}", call("next", f"f{n + 1}", "x"), returns="next:out_0:0") for n in range(200)]
    chain.append(function("f200", node("y", "Neg", "x"), returns="y:y:0"))

    assert graph(placeholder("x"), call("a", "f0", "x"), *chain).run("a", {"x": 2.0}) == -2
    with pytest.raises(GraphLimitError, match="max_call_depth=256"):
        endless.run("a", {"x": 1.0})


def test_functions_that_double_each_other_are_refused() -> None:
    """Two calls in each of thirty functions would be a thousand million operations."""

    def doubling(depth: int) -> list[str]:
        middle = [
            function(
                f"f{n}",
                call("a", f"f{n + 1}", "x"),
                call("b", f"f{n + 1}", "a:out_0:0"),
                returns="b:out_0:0",
            )
            for n in range(depth)
        ]
        return [
            placeholder("x"),
            call("y", "f0", "x"),
            *middle,
            function(f"f{depth}", node("n", "Neg", "x"), returns="n:y:0"),
        ]

    limits = ReferenceLimits(max_operations=5000)
    assert graph(*doubling(8), limits=limits).run("y", {"x": 2.0}) == 2
    with pytest.raises(GraphLimitError, match="max_operations=5000"):
        graph(*doubling(30), limits=limits).run("y", {"x": 2.0})


def branching(depth: int) -> list[str]:
    """Functions whose only node is an If that runs the next one."""
    both = [f"{refer('then_branch', f'f{n + 1}')} {refer('else_branch', f'f{n + 1}')}" for n in range(depth)]
    middle = [
        function(
            f"f{n}",
            node("p", "Greater", "x", "x"),
            node("i", "If", "p:z:0", "x", attributes=both[n]),
            returns="i:output:0",
        )
        for n in range(depth)
    ]
    return [
        placeholder("x"),
        call("y", "f0", "x"),
        *middle,
        function(f"f{depth}", node("n", "Neg", "x"), returns="n:y:0"),
    ]


def test_branches_inside_each_other_are_limited() -> None:
    """Each If is evaluated inside its outer one, so their depth has a limit."""
    assert graph(*branching(60)).run("y", {"x": 2.0}) == -2
    with pytest.raises(GraphLimitError, match="max_branch_depth=64"):
        graph(*branching(100)).run("y", {"x": 2.0})


def loop(condition: str) -> list[str]:
    """A loop that doubles x while a condition holds."""
    functions = f"{refer('cond', 'c')} {refer('body', 'b')}"
    return [
        placeholder("x"),
        node("y", "While", "x", attributes=functions),
        function("c", constant("most", 1000.0), node("r", condition, "x", "most:output:0"), returns="r:z:0"),
        function("b", node("r", "Add", "x", "x"), returns="r:z:0"),
    ]


def test_endless_loop_is_ended() -> None:
    """A loop whose condition never fails runs into a limit by name; one that ends is run to its end."""
    limits = ReferenceLimits(max_loop_iterations=50)

    assert graph(*loop("Less"), limits=limits).run("y", {"x": 1.0}) == 1024
    with pytest.raises(GraphLimitError, match="y: the loop has not ended: 51 is over the limit max_loop_iterations=50"):
        graph(*loop("NotEqual"), limits=limits).run("y", {"x": 1.0})


def test_depth_of_a_graph_is_no_limit() -> None:
    """A chain of ten thousand operations runs: nothing about it is a depth of Python's stack."""
    chain = [node(f"n{n}", "Neg", f"n{n - 1}" if n else "x") for n in range(10_000)]

    assert graph(placeholder("x"), *chain).run("n9999", {"x": 3.0}) == 3


def test_error_in_an_operation_says_where_and_with_what() -> None:
    """The node, its operation and the shapes that met are in the message."""
    bad = graph(placeholder("x", 2), placeholder("y", 3), node("z", "Add", "x", "y"))

    with pytest.raises(GraphError, match=r"z \(Add\): .*; the inputs are float32 \[2\], float32 \[3\]"):
        bad.run("z", {"x": ONES, "y": np.ones(3, np.float32)})


def test_frozen_graph_needs_no_checkpoint(tmp_path: Path) -> None:
    """A `.pb` file with constants in place of variables is a whole network."""
    path = write(tmp_path / "frozen.pb", placeholder("x", -1), constant("w", 3.0, 2), node("y", "Mul", "x", "w"))

    found = load_graph(path).run("y", {"x": ONES})

    np.testing.assert_array_equal(found, [3, 3])


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", GraphError), (b"\xff\xff\xff\xff", CorruptionError), (b"<html>not found</html>", CorruptionError)],
    ids=["empty", "garbage", "web page"],
)
def test_file_without_a_graph_is_refused(tmp_path: Path, content: bytes, error: type[Exception]) -> None:
    """An empty file, noise and a failed download are no graphs."""
    (tmp_path / "graph.pb").write_bytes(content)

    with pytest.raises(error, match=r"graph\.pb"):
        load_graph(tmp_path / "graph.pb")


def test_text_form_is_said_not_to_be_read(tmp_path: Path) -> None:
    """A `.pbtxt` is a graph, and not one that is read here."""
    (tmp_path / "graph.pbtxt").write_text(constant("x", 1.0))

    with pytest.raises(GraphError, match="the text form of graphs is not read"):
        load_graph(tmp_path / "graph.pbtxt")


def test_nothing_at_all_is_an_error_of_the_reader(tmp_path: Path) -> None:
    """Where there is no file, the reader of checkpoints says what is there instead."""
    with pytest.raises(CheckpointNotFoundError):
        load_graph(tmp_path / "nothing")


def test_unknown_tags_are_refused_with_those_there_are() -> None:
    """A SavedModel's graphs are told apart by tags."""
    assert load_graph(DATA / "savedmodel", tags=["serve"]).signatures
    with pytest.raises(GraphError, match=r"no graph with the tags train .*; there are: serve"):
        load_graph(DATA / "savedmodel", tags=["train"])


def test_loop_of_tensorflow_1_is_refused_by_its_operations() -> None:
    """Its nodes go in a circle by nature; what cannot be run are the operations, and these are listed."""
    old = graph(
        placeholder("x"),
        node("enter", "Enter", "x"),
        node("merge", "Merge", "enter", "next"),
        node("cond", "LoopCond", "less"),
        node("less", "Less", "merge", "merge"),
        node("switch", "Switch", "merge", "cond"),
        node("next", "NextIteration", "switch:1"),
        node("exit", "Exit", "switch"),
    )

    with pytest.raises(UnsupportedOpError) as caught:
        old.run("exit", {"x": 1.0})

    assert {op for _, op in caught.value.ops} == {"Enter", "Exit", "LoopCond", "NextIteration"}
