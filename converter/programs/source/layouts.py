"""Permutations carried along until they cancel: convolutions and their neighbours work on channels first.

Every value has an order: axis i of TensorFlow's tensor is axis `order[i]` of the stored one.
A permutation changes the order only, an operation that allows any order passes it on, and all others get their inputs
in TensorFlow's order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .folding import Leaves, inverse
from .network import Network, Node, Size, map_nodes, new

Order = tuple[int, ...]

#: Element-wise operations, whose tensors are broadcast.
ELEMENTWISE = {
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_not",
    "bitwise_or", "bitwise_xor", "ceil", "clamp", "cos", "cosh", "detach", "div", "elu", "eq", "erf", "erfc", "exp",
    "expm1", "fmod", "floor", "floor_divide", "ge", "gelu", "gt", "hardsigmoid", "hardswish", "isfinite", "isinf",
    "isnan", "le", "leaky_relu", "lerp", "log", "log1p", "logaddexp", "logical_and", "logical_not", "logical_or",
    "logical_xor", "lt", "masked_fill", "maximum", "minimum", "mish", "mul", "ne", "neg", "pow", "reciprocal", "relu",
    "relu6", "remainder", "round", "rsqrt", "rsub", "selu", "sigmoid", "sign", "silu", "sin", "sinh", "softplus",
    "sqrt", "square", "sub", "tan", "tanh", "threshold", "to", "trunc", "where", "xlogy", "zeros_like", "ones_like",
}  # fmt: skip
_REDUCTIONS = {"mean", "sum", "amax", "amin", "all", "any", "prod", "logsumexp", "var", "std"}
#: Operations on one tensor with one axis, by the name of that argument.
_ALONG_AXIS = {"softmax": "dim", "log_softmax": "dim", "slice": "dim", "cumsum": "dim", "flip": "dims", "roll": "dims"}


def carry_permutations(network: Network, leaves: Leaves) -> None:
    """Rewrite a network with as few permutations as its operations allow."""
    _Carrier(network, leaves).run()


class _Carrier:
    def __init__(self, network: Network, leaves: Leaves) -> None:
        self._network = network
        self._leaves = leaves
        self._orders: dict[Node, tuple[Node, Order]] = {}
        self._permuted: dict[tuple[Node, Order], Node] = {}
        self._front: dict[Node, None] = {}
        self._nodes: list[Node] = []
        self._table: dict[str, Callable[[Node], tuple[Node, Order] | None]] = {
            "permute": self._permute,
            "regrid": self._regrid,
            "size": self._size,
            "pad": self._pad,
            "cat": self._cat,
            **dict.fromkeys(ELEMENTWISE, self._elementwise),
            **dict.fromkeys(_REDUCTIONS, self._reduce),
            **dict.fromkeys(_ALONG_AXIS, self._along_axis),
        }

    def run(self) -> None:
        """Rewrite every node in order."""
        network = self._network
        users = network.users()
        for node in network.nodes:
            if node.leaf is not None:
                self._front[node] = None
                self._orders[node] = node, _identity(node)
            elif node.op == "input" and node.shape is not None and node.rank >= 3:
                self._input(node, users)
            else:
                handled = self._table[node.op](node) if node.op in self._table else None
                self._orders[node] = handled if handled is not None else self._in_order(node)
        network.result = map_nodes(network.result, self._plain)
        network.nodes = [*self._front, *self._nodes]
        network.prune()

    def _input(self, node: Node, users: dict[Node, list[Node]]) -> None:
        """Permute an image right away if convolutions need it so."""
        self._nodes.append(node)
        self._orders[node] = node, _identity(node)
        order = (0, *range(2, node.rank), 1)
        if _feeds_channels_first(node, users):
            self._orders[node] = self._arrange(node, order), order

    def _emit(self, node: Node) -> Node:
        self._nodes.append(node)
        return node

    def _in_order(self, node: Node) -> tuple[Node, Order]:
        """Keep a node whose inputs must have TensorFlow's order."""
        node.args = map_nodes(node.args, self._plain)
        self._nodes.append(node)
        return node, _identity(node)

    def _plain(self, node: Node) -> Node:
        """Return a value in TensorFlow's order."""
        return self._arrange(node, _identity(self._orders[node][0]))

    def _arrange(self, node: Node, wanted: Order) -> Node:
        """Return a value of full rank in an order."""
        stored, order = self._orders[node]
        if order == wanted:
            return stored
        back = inverse(wanted)  # the axis of TensorFlow's tensor at each stored axis
        dims = tuple(order[axis] for axis in back)
        if stored.leaf is not None:
            return self._fold(stored, ("permute", *dims))
        key = (stored, dims)
        if key not in self._permuted:
            assert stored.shape is not None
            shape = tuple(stored.shape[axis] for axis in dims)
            self._permuted[key] = self._emit(new("permute", {"self": stored, "dims": list(dims)}, stored, shape))
        return self._permuted[key]

    def _fold(self, leaf: Node, change: tuple[Any, ...]) -> Node:
        changed = self._leaves.change(leaf, change)
        self._front[changed] = None
        return changed

    def _operand(self, node: Node, rank: int, order: Order) -> Node:
        """Return an operand that is broadcast to a tensor with this rank and order."""
        stored = self._orders[node][0]
        if stored.shape is None or stored.rank == 0:
            return stored
        if stored.rank == rank:
            return self._arrange(node, order)
        if order == tuple(range(rank)):
            return self._plain(node)
        plain = self._plain(node)
        assert plain.shape is not None
        sizes: list[Size] = [1] * (rank - plain.rank) + list(plain.shape)
        places = inverse(order)
        arranged = [sizes[axis] for axis in places]
        kept = [axis - (rank - plain.rank) for axis in places if axis >= rank - plain.rank and sizes[axis] != 1]
        if kept != sorted(kept):  # more than broadcasting: the axes themselves change places
            axes = tuple([None] * (rank - plain.rank) + list(range(plain.rank)))
            whole = self._emit(new("regrid", {"self": plain, "axes": axes}, plain, tuple(sizes)))
            dims = list(places)
            return self._emit(new("permute", {"self": whole, "dims": dims}, plain, tuple(arranged)))
        while len(arranged) > 1 and arranged[0] == 1:
            arranged.pop(0)
        if plain.leaf is not None:
            return self._fold(plain, ("reshape", *arranged))
        dropped = rank - len(arranged)
        old: list[int | None] = []
        for axis in places[dropped:]:
            position = axis - (rank - plain.rank)
            old.append(position if position >= 0 else None)
        return self._emit(new("regrid", {"self": plain, "axes": tuple(old)}, plain, tuple(arranged)))

    def _permute(self, node: Node) -> tuple[Node, Order]:
        stored, order = self._orders[node.args["self"]]
        return stored, tuple(order[axis] for axis in node.args["dims"])

    def _elementwise(self, node: Node) -> tuple[Node, Order] | None:
        if node.shape is None:
            return None
        rank = node.rank
        orders = [
            self._orders[used][1]
            for used in node.inputs()
            if used.shape is not None and used.rank == rank and used.leaf is None
        ]
        identity = tuple(range(rank))
        order = next((order for order in orders if order != identity), identity)
        args = {
            name: map_nodes(value, lambda used: self._operand(used, rank, order)) for name, value in node.args.items()
        }
        return self._emit(_reordered(node, args, order)), order

    def _reduce(self, node: Node) -> tuple[Node, Order] | None:
        source = node.args["self"]
        stored, order = self._orders[source]
        dims = node.get("dim")
        if dims is None:
            return None
        axes = {axis % source.rank for axis in ([dims] if isinstance(dims, int) else dims)}
        new_dims: Any = sorted(order[axis] for axis in axes)
        if isinstance(dims, int):
            (new_dims,) = new_dims
        if node.get("keepdim"):
            result = order
        else:
            rest = sorted(order[axis] for axis in range(source.rank) if axis not in axes)
            result = tuple(rest.index(order[axis]) for axis in range(source.rank) if axis not in axes)
        return self._emit(_reordered(node, {**node.args, "self": stored, "dim": new_dims}, result)), result

    def _along_axis(self, node: Node) -> tuple[Node, Order] | None:
        source = node.args["self"]
        stored, order = self._orders[source]
        name = _ALONG_AXIS[node.op]
        axis = node.get(name, 0)
        moved = [order[one % source.rank] for one in axis] if isinstance(axis, list) else order[axis % source.rank]
        return self._emit(_reordered(node, {**node.args, "self": stored, name: moved}, order)), order

    def _cat(self, node: Node) -> tuple[Node, Order] | None:
        tensors = node.args["tensors"]
        rank = node.rank
        if any(used.rank != rank for used in tensors):
            return None
        orders = [self._orders[used][1] for used in tensors if used.leaf is None]
        identity = tuple(range(rank))
        order = next((order for order in orders if order != identity), identity)
        args = {"tensors": [self._arrange(used, order) for used in tensors], "dim": order[node.get("dim", 0) % rank]}
        return self._emit(_reordered(node, args, order)), order

    def _pad(self, node: Node) -> tuple[Node, Order] | None:
        if node.get("mode", "constant") != "constant":
            return None
        source = node.args["self"]
        stored, order = self._orders[source]
        flat = node.args["pad"]
        pairs: list[list[Any]] = [[0, 0]] * source.rank
        for number in range(len(flat) // 2):
            pairs[order[source.rank - 1 - number]] = flat[2 * number : 2 * number + 2]
        while len(pairs) > 1 and pairs[0] == [0, 0]:
            pairs.pop(0)
        padding = [size for pair in reversed(pairs) for size in pair]
        return self._emit(_reordered(node, {**node.args, "self": stored, "pad": padding}, order)), order

    def _size(self, node: Node) -> tuple[Node, Order]:
        source = node.args["self"]
        stored, order = self._orders[source]
        return self._emit(new("size", {"self": stored, "dim": order[node.args["dim"] % source.rank]}, node)), ()

    def _regrid(self, node: Node) -> tuple[Node, Order] | None:
        """Add and remove axes of one element in the stored order; a new one comes before the axis that follows it."""
        source = node.args["self"]
        stored, order = self._orders[source]
        axes: tuple[int | None, ...] = node.args["axes"]
        places: list[tuple[float, int]] = []  # a place among the stored axes of the source, for each new axis
        following = float(source.rank)
        for position in reversed(range(len(axes))):
            axis = axes[position]
            if axis is not None:
                following = float(order[axis])
                places.append((following, position))
            else:
                following -= 0.5 / len(axes)
                places.append((following, position))
        ranked = sorted(places)
        new_order = [0] * len(axes)
        stored_axes: list[int | None] = []
        for place, (_, position) in enumerate(ranked):
            new_order[position] = place
            axis = axes[position]
            stored_axes.append(None if axis is None else order[axis])
        result = tuple(new_order)
        args = {"self": stored, "axes": tuple(stored_axes)}
        return self._emit(_reordered(node, args, result)), result


def _feeds_channels_first(node: Node, users: dict[Node, list[Node]]) -> bool:
    """Return whether operations that allow any order lead from a node to a permutation to channels first."""
    pending, done = [node], {node}
    while pending:
        for user in users[pending.pop()]:
            if user.shape is None or user in done:
                continue
            rank = user.rank
            if user.op == "permute" and user.args["dims"] == [0, rank - 1, *range(1, rank - 1)]:
                return True
            keeps = rank == node.rank and (user.op in ELEMENTWISE or user.op == "pad")
            if keeps or (user.op == "regrid" and rank > node.rank):
                done.add(user)
                pending.append(user)
    return False


def _identity(node: Node) -> Order:
    return () if node.shape is None else tuple(range(node.rank))


def _reordered(node: Node, args: dict[str, Any], order: Order) -> Node:
    """Return a node with other arguments, whose shape is stored in an order."""
    shape = None if node.shape is None else tuple(node.shape[axis] for axis in inverse(order))
    return Node(node.op, args, shape, node.dtype, node.label, node.target)
