"""LSTM and GRU, recognized in the unrolled loops that an export writes for them.

The operations from a sequence to the last product with a recurrent kernel are computed in float64 for random sequences
and parameters, and so is `nn.LSTM` or `nn.GRU` with the same parameters. A value that equals its output at some step
is replaced by that. If anything else still needs one of the parameters, the loop stays as it is.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from .evaluating import compute_node, evaluate, evaluate_size
from .network import Layer, Leaf, Network, Node, Rewriter, new

#: The most nodes between the sequence and the last product, and of those looked at after it, for each step.
_MOST_NODES = 120
_MOST_AFTER = 12
#: How far up a chain of operations on whole sequences the layer's input may be, such as the product with its kernel.
_MOST_WHOLE = 5
#: Operations of the last step, and those that lead to the results of a layer.
_RESULTS = {
    "matmul", "item", "split_with_sizes", "split", "chunk", "sigmoid", "tanh", "mul", "add", "sub", "rsub", "stack",
    "cat", "regrid", "unsqueeze", "squeeze", "permute", "reshape", "select", "slice", "clone",
}  # fmt: skip
#: The order of the gates in the columns of a kernel, by the position of each of PyTorch's: i, f, g, o and r, z, n.
#: Keras has i, f, c, o and z, r, h, and TensorFlow 1 has i, j, f, o.
_LSTM_ORDERS = ((0, 1, 2, 3), (0, 2, 1, 3))
_GRU_ORDERS = ((1, 0, 2),)
_MOST_NUMBERS = 3
_CLOSE = 1e-9


@dataclasses.dataclass(slots=True)
class _Loop:
    """The operations of an unrolled loop, the sequence they read, and the parameters they use."""

    nodes: set[Node]
    source: Node
    parameters: list[Node]


@dataclasses.dataclass(frozen=True, slots=True)
class _Guess:
    """A layer that a loop may be: its class, what its parameters are, and the axis of the steps.

    `order` are the positions of PyTorch's gates in TensorFlow's columns, and `forget` is added to the forget gate.
    """

    kind: str
    roles: Mapping[str, Node]
    units: int
    inputs: int
    order: tuple[int, ...]
    forget: float
    time: int

    def arrange(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the state of the layer for values of the parameters by role."""
        gates, units = len(self.order), self.units

        def turn(columns: torch.Tensor) -> torch.Tensor:
            return columns.reshape(-1, gates, units)[:, list(self.order)].reshape(-1, gates * units).T

        both = tensors.get("both")
        kernel = tensors["kernel"] if both is None else both[: self.inputs]
        recurrent = tensors["recurrent"] if both is None else both[self.inputs :]
        state = {"weight_ih_l0": turn(kernel), "weight_hh_l0": turn(recurrent)}
        if self.forget or "bias" in tensors or "biases" in tensors:
            zeros = kernel.new_zeros(gates * units)
            if "biases" in tensors:
                first, second = tensors["biases"].reshape(2, -1)
            else:
                first, second = tensors.get("bias", zeros), tensors.get("second", zeros)
            state |= {"bias_ih_l0": turn(first).reshape(-1), "bias_hh_l0": turn(second).reshape(-1).clone()}
            if self.forget:
                state["bias_hh_l0"][units : 2 * units] += self.forget
        return state

    def run(self, x: torch.Tensor, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return what the layer computes: the output of all steps, time first, and the last cell state of an LSTM."""
        steps = x if self.time == 0 else x.transpose(0, 1)
        zeros = x.new_zeros(1, steps.shape[1], self.units)
        options = (len(state) > 2, 1, 0.0, False, False, False)
        if self.kind == "GRU":
            return {"output": torch.gru(steps, zeros, list(state.values()), *options)[0]}
        output, _, cell = torch.lstm(steps, (zeros, zeros), list(state.values()), *options)
        return {"output": output, "cell": cell[0]}


def recognize_recurrence(network: Network) -> None:
    """Replace the unrolled loops that compute an LSTM or GRU by layers, and two opposite ones by one."""
    failed: set[Node] = set()
    while (found := _find_kernel(network, failed)) is not None:
        kernel, last = found
        if not _replace(network, last):
            failed.add(kernel)
    _join_directions(network)


def _find_kernel(network: Network, failed: set[Node]) -> tuple[Node, Node] | None:
    """Return a parameter that is multiplied with what depends on its earlier products, and the last of these."""
    derived: dict[Node, frozenset[Node]] = {}
    depends: dict[Node, set[Node]] = {}
    repeated: dict[Node, Node] = {}
    for node in network.nodes:
        inputs = list(node.inputs())
        if node.leaf is not None:
            derived[node] = frozenset([node] if node.leaf.is_parameter and node.rank == 2 else [])
        elif inputs and all(used in derived for used in inputs):
            derived[node] = frozenset().union(*(derived[used] for used in inputs))
        if node in derived:
            continue
        before: set[Node] = set().union(*(depends.get(used, ()) for used in inputs))
        if node.op == "matmul":
            kernels = set(derived.get(node.args["other"], ())) - failed
            for kernel in kernels & before:
                repeated[kernel] = node
            before |= kernels
        depends[node] = before
    return next(iter(repeated.items()), None)


def _replace(network: Network, last: Node) -> bool:
    """Replace the loop that ends with a product by a layer; return whether it is one."""
    for loop in _read_loops(last):
        symbols = _choose_symbols(loop)
        if symbols is None:
            continue
        generator = torch.Generator().manual_seed(0)
        try:
            values = _compute(network, loop, symbols, generator)
        except (RuntimeError, IndexError, TypeError, KeyError, ValueError):
            continue  # operations whose sizes have another meaning
        for guess in _guess(loop, values):
            state = guess.arrange({role: values[leaf] for role, leaf in guess.roles.items()})
            found = _match(values, guess.run(values[loop.source], state), loop.source)
            if found and not _needs(network, loop, found):
                _write(network, loop.source, guess, found)
                return True
    return False


def _read_loops(last: Node) -> Iterator[_Loop]:
    """Yield the operations before a product, from the sequence nearest to it, and from those that become it."""
    nodes: set[Node] = set()
    leaves: dict[Node, None] = {}
    sources: set[Node] = set()
    pending = [last]
    most = None
    while pending:
        node = pending.pop()
        if node in nodes or node in sources:
            continue
        if node.leaf is not None:
            leaves[node] = None
        elif node.op in ("size", "number"):
            nodes.add(node)  # sizes of the batch, which have values of their own
        elif node.shape is not None and node.rank >= 3:
            sources.add(node)
            most = _MOST_NODES * max((size for size in node.shape if type(size) is int), default=1)
        elif node.op == "input":
            return
        else:
            nodes.add(node)
            pending.extend(node.inputs())
        if most is not None and len(nodes) > most:
            return
    if len(sources) != 1:
        return
    (source,) = sources
    for _ in range(_MOST_WHOLE):
        if source.shape is None or source.rank != 3:
            return
        yield _Loop(set(nodes), source, [leaf for leaf in leaves if _is_parameter(leaf)])
        whole = [used for used in source.inputs() if used.leaf is None]
        if len(whole) != 1 or source.op not in ("permute", "matmul", "add", "regrid", "reshape"):
            return
        nodes.add(source)
        leaves |= dict.fromkeys(used for used in source.inputs() if used.leaf is not None)
        (source,) = whole


def _is_parameter(node: Node) -> bool:
    return node.leaf is not None and node.leaf.is_parameter and node.leaf.tensor.is_floating_point()


def _choose_symbols(loop: _Loop) -> Mapping[Any, int] | None:
    """Return numbers for the symbols in the sizes; None if the sequence is not of a fixed length and width."""
    shape = loop.source.shape
    assert shape is not None
    fixed = [size for size in shape if type(size) is int]
    if len(fixed) < 2 or type(shape[2]) is not int:
        return None
    symbols = {symbol for size in shape if type(size) is not int for symbol in size.free_symbols}
    number = 2
    while number in fixed:
        number += 1
    return dict.fromkeys(symbols, number)


def _compute(network: Network, loop: _Loop, symbols: Mapping[Any, int], generator: torch.Generator) -> dict[Node, Any]:
    """Return the values of a loop's nodes, and of those after it that depend on nothing else."""
    assert loop.source.shape is not None

    def draw(shape: Sequence[int]) -> torch.Tensor:
        return torch.randn(tuple(shape), dtype=torch.float64, generator=generator) / 2

    values: dict[Node, Any] = {loop.source: draw([evaluate_size(size, symbols) for size in loop.source.shape])}
    values |= {leaf: draw(leaf.args["leaf"].tensor.shape) for leaf in loop.parameters}
    left = _MOST_AFTER * len(loop.nodes)
    for node in network.nodes:
        if node in values:
            continue
        if node in loop.nodes and node.op in ("size", "number"):
            values[node] = evaluate(node, symbols)
        elif node.leaf is not None:
            if not node.leaf.is_parameter:
                tensor = node.leaf.tensor
                values[node] = tensor.double() if tensor.is_floating_point() else tensor
        elif node in loop.nodes:
            values[node] = _widen(compute_node(node, values))
        elif node.op in _RESULTS and left > 0:
            inputs = list(node.inputs())
            if inputs and all(used in values for used in inputs):
                left -= 1
                try:
                    values[node] = _widen(compute_node(node, values))
                except (RuntimeError, IndexError, TypeError, KeyError):
                    continue  # another batch than the one that was traced
    return values


def _widen(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.dtype == torch.float32 else value


def _guess(loop: _Loop, values: Mapping[Node, Any]) -> Iterator[_Guess]:
    """Yield the layers whose parameters these could be."""
    inputs = values[loop.source].shape[2]
    added = _find_numbers(loop)
    for kind, orders in (("LSTM", _LSTM_ORDERS), ("GRU", _GRU_ORDERS)):
        for roles, units in _assign(loop.parameters, 4 if kind == "LSTM" else 3, inputs):
            for order, forget, time in itertools.product(orders, added if kind == "LSTM" else [0.0], (0, 1)):
                yield _Guess(kind, roles, units, inputs, order, forget, time)


def _find_numbers(loop: _Loop) -> list[float]:
    """Return what may be added to a forget gate: nothing, or a number that the loop adds to a value."""
    numbers = {
        float(value)
        for node in loop.nodes
        if node.op == "add"
        for value in node.args.values()
        if isinstance(value, int | float)
    }
    return [0.0, *sorted(numbers - {0.0})[:_MOST_NUMBERS]]


def _assign(parameters: Sequence[Node], gates: int, inputs: int) -> Iterator[tuple[dict[str, Node], int]]:
    """Yield meanings of parameters that their shapes allow, with the number of units."""
    names = [("kernel", "recurrent"), ("kernel", "recurrent", "bias"), ("both",), ("both", "bias")]
    if gates == 3:
        names = [("kernel", "recurrent"), ("kernel", "recurrent", "biases"), ("kernel", "recurrent", "bias", "second")]
    for wanted in names:
        if len(wanted) != len(parameters):
            continue
        for ordered in itertools.permutations(parameters):
            roles = dict(zip(wanted, ordered, strict=True))
            columns = roles.get("recurrent", ordered[0]).args["leaf"].tensor.shape[-1]
            units = columns // gates
            shapes = {
                "kernel": [(inputs, columns)],
                "recurrent": [(units, columns)],
                "both": [(inputs + units, columns)],
                "bias": [(columns,), (1, columns)],
                "second": [(columns,), (1, columns)],
                "biases": [(2, columns), (2 * columns,)],
            }
            if units * gates == columns and all(
                tuple(leaf.args["leaf"].tensor.shape) in shapes[role] for role, leaf in roles.items()
            ):
                yield roles, units


#: How a value follows from a layer: at a step, the last cell state, or all steps with the time or the batch first.
Form = tuple[Any, ...]


def _match(values: Mapping[Node, Any], expected: Mapping[str, torch.Tensor], source: Node) -> dict[Node, Form]:
    """Return the nodes whose values are results of a layer; none unless there is a value for every step's output."""
    output = expected["output"]
    forms: list[tuple[Form, torch.Tensor]] = [(("step", number), row) for number, row in enumerate(output)]
    forms += [(("time first",), output), (("batch first",), output.transpose(0, 1))]
    if "cell" in expected:
        forms.append((("cell",), expected["cell"]))
    by_first: dict[tuple[Any, ...], list[tuple[Form, torch.Tensor]]] = {}
    for form, tensor in forms:
        by_first.setdefault(_fingerprint(tensor), []).append((form, tensor))
    found: dict[Node, Form] = {}
    for node, value in values.items():
        if node is source or node.leaf is not None or not isinstance(value, torch.Tensor) or not value.numel():
            continue
        for form, tensor in by_first.get(_fingerprint(value), ()):
            if torch.allclose(value, tensor, rtol=_CLOSE, atol=_CLOSE):
                found[node] = form
                break
    steps = {form for form in found.values() if form[0] == "step"}
    return found if len(steps) == len(output) else {}


def _fingerprint(tensor: torch.Tensor) -> tuple[Any, ...]:
    return (*tensor.shape, round(float(tensor.reshape(-1)[0]), 6), round(float(tensor.reshape(-1)[-1]), 6))


def _needs(network: Network, loop: _Loop, found: Mapping[Node, Form]) -> bool:
    """Return whether the program needs a parameter of the loop even if the results come from a layer."""
    parameters = set(loop.parameters)
    pending = [*network.outputs(), loop.source]
    done: set[Node] = set()
    while pending:
        node = pending.pop()
        if node in parameters:
            return True
        if node not in done and node not in found:
            done.add(node)
            pending.extend(node.inputs())
    return False


def _write(network: Network, source: Node, guess: _Guess, found: Mapping[Node, Form]) -> None:
    """Replace results by those of a layer, with the batch first if the sequence was turned for the loop."""
    turned = _turn_back(source) if guess.time == 0 else None
    is_batch_first = guess.time == 1 or turned is not None
    x = source if turned is None else turned[-1]
    call = Node("layer", {"layer": _make_layer(guess, is_batch_first), "inputs": [x]}, None, x.dtype, source.label)
    assert x.shape is not None
    batch, steps = x.shape[0 if is_batch_first else 1], x.shape[1 if is_batch_first else 0]
    output = new("item", {"self": call, "index": 0}, x, (*x.shape[:2], guess.units))
    made: dict[Form, Node] = {}

    def make(form: Form, rewriter: Rewriter) -> Node:
        if not made:
            for node in (*(turned or ()), call, output):
                if node not in network_nodes:
                    rewriter.add(node)
            made["batch first" if is_batch_first else "time first",] = output
        if form not in made:
            made[form] = rewriter.add(derive(form, rewriter))
        return made[form]

    def derive(form: Form, rewriter: Rewriter) -> Node:
        if form[0] == "step":
            index = -1 if form[1] == steps - 1 else form[1]
            args = {"self": output, "dim": 1 if is_batch_first else 0, "index": index}
            return new("select", args, x, (batch, guess.units))
        if form[0] == "cell":
            states = rewriter.add(Node("item", {"self": call, "index": 1}))
            cells = rewriter.add(new("item", {"self": states, "index": 1}, x, (1, batch, guess.units)))
            return new("select", {"self": cells, "dim": 0, "index": 0}, x, (batch, guess.units))
        assert output.shape is not None
        shape = (output.shape[1], output.shape[0], guess.units)
        return new("permute", {"self": output, "dims": [1, 0, 2]}, x, shape)

    network_nodes = set(network.nodes)
    Rewriter(network).run(lambda node, rewriter: make(found[node], rewriter) if node in found else None)


def _turn_back(source: Node) -> list[Node] | None:
    """Return the nodes that lead to a sequence with the batch first, of which the loop has the time first; or None."""
    if source.op == "permute" and list(source.args["dims"]) == [1, 0, 2]:
        return [source.args["self"]]
    if source.op == "flip" and list(source.args["dims"]) == [0]:
        inner = _turn_back(source.args["self"])
        if inner is not None:
            return [*inner, new("flip", {"self": inner[-1], "dims": [1]}, inner[-1])]
    return None


def _make_layer(guess: _Guess, is_batch_first: bool) -> Layer:
    """Return the layer with the values of the parameters."""
    leaves: list[Leaf] = [node.args["leaf"] for node in guess.roles.values()]
    state = guess.arrange({role: node.args["leaf"].tensor for role, node in guess.roles.items()})
    is_trained = all(leaf.is_trained for leaf in leaves)
    nodes = {}
    for name, tensor in state.items():
        leaf = Leaf(tensor, leaves[0].source, True, is_trained)
        nodes[name] = Node("leaf", {"leaf": leaf}, tuple(tensor.shape), tensor.dtype)
    arguments = [str(guess.inputs), str(guess.units)]
    if len(state) == 2:
        arguments.append("bias=False")
    if is_batch_first:
        arguments.append("batch_first=True")
    return Layer(guess.kind, tuple(arguments), nodes)


def _join_directions(network: Network) -> None:
    """Make one layer of two that read a sequence in both directions, if their outputs become one."""

    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        if node.op != "cat" or node.shape is None or len(node.args["tensors"]) != 2:
            return None
        if node.get("dim", 0) not in (2, -1) or node.rank != 3:
            return None
        forward, flipped = node.args["tensors"]
        if flipped.op != "flip":
            return None
        backward: Node = flipped.args["self"]
        calls = [_call_of(output) for output in (forward, backward)]
        if None in calls or not all(map(rewriter.has_one_user, (forward, flipped, backward))):
            return None
        first, second = (call for call in calls if call is not None)
        if not all(map(rewriter.has_one_user, (first, second))):
            return None
        (x,), (reverse,) = first.args["inputs"], second.args["inputs"]
        one, two = first.args["layer"], second.args["layer"]
        time = 1 if "batch_first=True" in one.arguments else 0
        if (
            reverse.op != "flip"
            or reverse.args["self"] is not x
            or (one.kind, one.arguments) != (two.kind, two.arguments)
        ):
            return None
        if [list(turn.args["dims"]) for turn in (reverse, flipped)] not in ([[time]] * 2, [[time - 3]] * 2):
            return None
        state = {**one.state, **{f"{name}_reverse": leaf for name, leaf in two.state.items()}}
        layer = Layer(one.kind, (*one.arguments, "bidirectional=True"), state, label=one.label)
        call = rewriter.add(Node("layer", {"layer": layer, "inputs": [x]}, None, x.dtype, node.label))
        return rewriter.add(new("item", {"self": call, "index": 0}, node))

    Rewriter(network).run(rule)


def _call_of(output: Node) -> Node | None:
    """Return the call of a recurrent layer whose first result this is."""
    if output.op != "item" or output.args["index"] != 0:
        return None
    call: Node = output.args["self"]
    return call if call.op == "layer" and call.args["layer"].kind in ("LSTM", "GRU") else None
