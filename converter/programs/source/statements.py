"""The statements of `forward`: their order, what is nested in what, and the names of local variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch

from .expressions import INFIX, Texts, write_call
from .network import RESULT, Argument, Network, Node
from .quoting import Names

#: The length of a statement up to which operations are nested in it.
_MAX_NESTED = 96
_MAX_DEPTH = 4
#: The same for arithmetic on sizes.
_MAX_NUMBER = 60
_POOL = tuple("xyzuvwabcdefgh")
_INTEGERS = ("n", "m", "k")
#: Text without brackets or blanks in front of a method or an operator.
_ATOMS = {"size", "item"}


@dataclasses.dataclass(slots=True)
class Statement:
    """One line of `forward`: the node it computes, its text, and the variable."""

    node: Node
    variable: str
    text: str


class ForwardWriter:
    """Writes the body of `forward` for a network whose layers and leaves have names.

    In a block the name of the argument is used again, and the last operation is the result.
    """

    def __init__(
        self, network: Network, attributes: dict[Node, str], arguments: dict[Node, str], *, nests: bool, is_block: bool
    ) -> None:
        self._network = network
        self._attributes = attributes
        self._names = dict(arguments)
        self._nests = nests
        self._users = network.users()
        self._inlined: set[Node] = set()
        self.uses_dtype = False
        tensors = [node for node in network.inputs if node.shape is not None]
        self._device = f"{arguments[tensors[0]]}.device" if tensors else 'torch.device("cpu")'
        self._is_block = is_block
        self._taken = set() if is_block else set(arguments.values())

    def write(self) -> tuple[list[Statement], str]:
        """Return the statements, and the text of the result."""
        order = _order(self._network)
        self._inlined = {node for node in order if node.op in _ATOMS and node.op == "size"}
        statements = [node for node in order if node not in self._inlined]
        if self._nests:
            statements = self._nest(statements)
        statements = self._nest_numbers(statements)
        last_use = self._find_last_uses(statements)
        free_names = _Pool(_POOL, self._taken)
        free_integers = _Pool(_INTEGERS, self._taken)
        if self._is_block:
            self._names = {node: free_names.take() for node in self._network.inputs}
        written: list[Statement] = []
        expiring: dict[int, list[Node]] = {}
        for node, last in last_use.items():
            expiring.setdefault(last, []).append(node)
        for position, node in enumerate(statements):
            text = self._text(node)
            for expired in expiring.get(position, ()):
                name = self._names.get(expired)
                if name is not None and (self._is_block or expired not in self._network.inputs):
                    free_names.release(name)
                    free_integers.release(name)
            pool = free_integers if node.shape is None and node.op == "number" else free_names
            self._names[node] = pool.take()
            written.append(Statement(node, self._names[node], text))
        if self._is_block and written and written[-1].node is self._network.result:
            return written[:-1], written[-1].text
        return written, self._result()

    def _result(self) -> str:
        result = self._network.result
        return self._result_text(result)

    def _result_text(self, result: object) -> str:
        from .quoting import quote

        if isinstance(result, dict):
            inside = ", ".join(f"{quote(str(key))}: {self._result_text(value)}" for key, value in result.items())
            return f"{{{inside}}}"
        if isinstance(result, list | tuple):
            items = [self._result_text(item) for item in result]
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})" if items else "()"
        return self._render(result)

    def _nest(self, statements: list[Node]) -> list[Node]:
        """Choose the calls that are arguments of the next call, as a person would write them."""
        depth: dict[Node, int] = {}
        length: dict[Node, int] = {}
        for node in statements:
            inner = 0
            size = _estimate(node) + sum(
                len(self._attributes[used]) + 7 for used in node.inputs() if used.leaf is not None
            )
            for used in node.inputs():
                if used not in depth or depth[used] >= _MAX_DEPTH or size + length[used] > _MAX_NESTED:
                    continue
                if self._can_nest(used, node, depth[used]):
                    size += length[used]
                    inner = max(inner, depth[used])
                    self._inlined.add(used)
            depth[node] = inner + 1
            length[node] = size
        return [node for node in statements if node not in self._inlined]

    def _nest_numbers(self, statements: list[Node]) -> list[Node]:
        """Write arithmetic on sizes where it is used, if that is one place."""
        for node in statements:
            if node.op == "number" and len(self._users[node]) == 1 and self._number_length(node) < _MAX_NUMBER:
                self._inlined.add(node)
        return [node for node in statements if node not in self._inlined]

    def _number_length(self, node: Node) -> int:
        inner = [used for used in node.inputs() if used in self._inlined and used.op == "number"]
        return 4 + 12 * len(node.args["values"]) + sum(self._number_length(used) for used in inner)

    def _can_nest(self, used: Node, user: Node, depth: int) -> bool:
        """Return whether a person would write a call inside another: layer, norm and activation, one unit a line."""
        if self._users[used] != [user]:
            return False
        if used.shape is None:
            return used.op == "layer" and user.op == "item"
        if user.op == "layer":
            if user.args["layer"].kind.startswith("BatchNorm"):
                return _is_layer(used) and not _is_layer(used, "BatchNorm")
            return used.op in ("pad", "call") or (used.op in _OUTER and depth == 1)
        if user.op in _POOLS:
            return used.op in ("pad", "call")
        if user.op in _OUTER or user.op == "call":
            return used.op in ("layer", "call")
        if user.op in ("add", "mul"):
            return used.op in ("layer", "sigmoid", "hardsigmoid") and depth <= 2
        return False

    def _find_last_uses(self, statements: list[Node]) -> dict[Node, int]:
        last: dict[Node, int] = {}
        for position, node in enumerate(statements):
            last[node] = position  # a value that nothing uses
            for used in self._named_inputs(node):
                last[used] = position
        for output in self._network.outputs():
            for used in [output] if output not in self._inlined else self._named_inputs(output):
                last[used] = len(statements)
        return last

    def _named_inputs(self, node: Node) -> Iterable[Node]:
        """Yield the variables in the text of a node."""
        pending = list(node.inputs())
        while pending:
            used = pending.pop()
            if used in self._inlined:
                pending.extend(used.inputs())
            elif used.leaf is None:
                yield used

    def _text(self, node: Node) -> str:
        source = node.get("self")
        is_fresh = source in self._inlined and _is_layer(source) and source.args["layer"].block is None
        if node.op in _IN_PLACE and is_fresh:  # the result of a layer of torch.nn, which is used here only
            return f"F.{node.op}({self._render(source)}, inplace=True)"
        texts = Texts(node, self._render, dtype=self._dtype, device=self._device)
        return write_call(node, texts)

    def _render(self, value: Argument) -> str:
        assert isinstance(value, Node)
        if value.leaf is not None:
            return f"self.{self._attributes[value]}"
        if value in self._inlined:
            return self._text(value)
        return self._names[value]

    def _dtype(self, dtype: torch.dtype) -> str:
        if dtype == torch.float32:
            self.uses_dtype = True
            return "dtype"
        return str(dtype)


_POOLS = {"max_pool2d", "avg_pool2d"}
#: Functions whose gradient needs their result only.
_IN_PLACE = {"relu", "relu6"}
#: Functions that a person writes around a call.
_OUTER = {
    "relu",
    "relu6",
    "silu",
    "gelu",
    "sigmoid",
    "tanh",
    "elu",
    "leaky_relu",
    "hardswish",
    "hardsigmoid",
    "softplus",
}
_OUTER |= {"selu", "mish", "softmax", "log_softmax"}


def _is_layer(node: Node, kind: str = "") -> bool:
    return node.op == "layer" and node.args["layer"].kind.startswith(kind)


def _estimate(node: Node) -> int:
    """Return about how long the text of a node is, without nested calls."""
    if node.op == "layer":
        return len(node.args["layer"].name) + 8
    if node.op in INFIX:
        return 5
    return len(node.op) + (26 if node.op in _IN_PLACE else 12)


class _Pool:
    """Names of local variables; the first that is free is taken."""

    def __init__(self, first: Iterable[str], taken: set[str]) -> None:
        self._first = [name for name in first if name not in taken]
        self._names = Names(taken)
        self._free: list[tuple[int, str]] = []
        self._rank: dict[str, int] = {}

    def take(self) -> str:
        """Return the free name that comes first, or a new one."""
        import heapq

        if self._free:
            return heapq.heappop(self._free)[1]
        number = len(self._rank)
        if number < len(self._first):
            name = self._first[number]
        else:
            name = self._names.take(f"{self._first[0] if self._first else 'x'}_{number}")
        self._rank[name] = number
        return name

    def release(self, name: str) -> None:
        """Make a name free again, if it is from this pool."""
        import heapq

        if name in self._rank:
            heapq.heappush(self._free, (self._rank[name], name))


def _order(network: Network) -> list[Node]:
    """Return the nodes with a text of their own, each as late as the first that needs it, inputs from the left."""
    done: set[Node] = set(network.inputs)
    order: list[Node] = []
    for output in network.outputs():
        pending = [output]
        while pending:
            node = pending[-1]
            if node in done or node.leaf is not None:
                pending.pop()
                continue
            missing = [used for used in node.inputs() if used not in done and used.leaf is None]
            if missing:
                pending.extend(reversed(missing))
            else:
                done.add(node)
                order.append(node)
                pending.pop()
    assert RESULT not in done
    return order
