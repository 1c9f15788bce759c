"""The program that source is written from: nodes in the order of execution, with shapes and the tensors they need.

A node is an ATen operation with its arguments by the names of its schema, or one of a few kinds of our own:

| op | arguments | meaning |
| --- | --- | --- |
| `input` | `name` | an argument of `forward` |
| `leaf` | `leaf` | a parameter, buffer or constant |
| `size` | `self`, `dim` | the size of an axis, a Python integer |
| `item` | `self`, `index` | one output of an operation with several |
| `number` | `symbol`, `values` | arithmetic on Python integers |
| `layer` | `layer`, `inputs` | a call of a recognized layer |
| `call` | `function`, `inputs` | a call of a function of `torch`, given as text |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch

#: A number, or an expression of SymPy in the symbols of a dynamic export.
Size: TypeAlias = Any
Shape: TypeAlias = tuple[Size, ...]
#: A node, number, dtype, None, or a list of these.
Argument: TypeAlias = Any


@dataclasses.dataclass(eq=False, slots=True, repr=False)
class Leaf:
    """A tensor that the program has from the start.

    `source` is its name in the module, by TensorFlow's scopes, and `changes` are the changes of layout since then;
    `original` is the tensor before them, or None.
    """

    tensor: torch.Tensor
    source: str
    is_parameter: bool
    is_trained: bool
    changes: tuple[tuple[Any, ...], ...] = ()
    original: torch.Tensor | None = None


@dataclasses.dataclass(eq=False, slots=True, repr=False)
class Layer:
    """A recognized layer: its class, its constructor's arguments as text, and its state by attribute.

    `name` is its attribute, chosen last. `block` defines its class, or is None if that is one of `torch.nn`.
    """

    kind: str
    arguments: tuple[str, ...]
    state: dict[str, Node]
    name: str = ""
    label: str = ""
    block: Block | None = None


@dataclasses.dataclass(eq=False, slots=True, repr=False)
class Node:
    """One operation; `shape` is None unless the result is a tensor, `label` is TensorFlow's name of the node."""

    op: str
    args: dict[str, Argument]
    shape: Shape | None = None
    dtype: torch.dtype | None = None
    label: str = ""
    target: Callable[..., Any] | None = None

    @property
    def rank(self) -> int:
        """Number of axes of a tensor."""
        assert self.shape is not None, f"{self.op} is not a tensor"
        return len(self.shape)

    @property
    def leaf(self) -> Leaf | None:
        """The tensor, if this node is one that the program has from the start."""
        return self.args["leaf"] if self.op == "leaf" else None

    def inputs(self) -> Iterator[Node]:
        """Yield the nodes among the arguments, in order, and as often as they occur."""
        return nodes_in(self.args.values())

    def get(self, name: str, default: Argument = None) -> Argument:
        """Return an argument by name."""
        return self.args.get(name, default)

    def __repr__(self) -> str:
        """Return the operation and its shape; arguments would repeat the whole network."""
        return f"{self.op}{list(self.shape or ())}"


@dataclasses.dataclass(slots=True)
class Network:
    """A whole program; `result` is a node, or a tuple or dict of nodes, as `forward` returns it."""

    inputs: list[Node]
    nodes: list[Node]
    result: Any

    def outputs(self) -> list[Node]:
        """Return the nodes of the result, in order."""
        return list(nodes_in([self.result]))

    def users(self) -> dict[Node, list[Node]]:
        """Return the nodes that use each node, once for each use; a use as a result counts as a None-like `result`."""
        users: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for used in node.inputs():
                users[used].append(node)
        for node in self.outputs():
            users[node].append(RESULT)
        return users

    def prune(self) -> None:
        """Remove the nodes that no result needs; inputs stay."""
        needed = set(self.inputs)
        pending = self.outputs()
        while pending:
            node = pending.pop()
            if node not in needed:
                needed.add(node)
                pending.extend(node.inputs())
        self.nodes = [node for node in self.nodes if node in needed]


@dataclasses.dataclass(eq=False, slots=True, repr=False)
class Block:
    """A class of our own for a scope that repeats: its name, the arguments of its constructor, and its network."""

    name: str
    arguments: tuple[str, ...]
    network: Network


#: Stands for the result among the users of a node.
RESULT = Node("result", {})


def nodes_in(arguments: Any) -> Iterator[Node]:
    """Yield the nodes in arguments, also inside lists, tuples and dicts."""
    for argument in arguments:
        if isinstance(argument, Node):
            yield argument
        elif isinstance(argument, list | tuple):
            yield from nodes_in(argument)
        elif isinstance(argument, dict):
            yield from nodes_in(argument.values())


def map_nodes(argument: Argument, change: Callable[[Node], Argument]) -> Argument:
    """Return an argument with every node in it replaced."""
    if isinstance(argument, Node):
        return change(argument)
    if isinstance(argument, list | tuple):
        return type(argument)([map_nodes(item, change) for item in argument])
    if isinstance(argument, dict):
        return {name: map_nodes(item, change) for name, item in argument.items()}
    return argument


class Rewriter:
    """One pass over a network, in order: nodes are replaced, and new ones are inserted before the current one."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.users = network.users()
        self._swaps: dict[Node, Node] = {}
        self._order: list[Node] = []
        self._leaves: dict[Node, None] = {}

    def run(self, rule: Callable[[Node, Rewriter], Node | None]) -> bool:
        """Apply a rule to every node; return whether anything changed.

        The rule sees arguments that are already replaced. It returns the replacement, or None to keep the node.
        """
        before = self.network.nodes
        for node in before:
            node.args = map_nodes(node.args, self.current)
            replacement = rule(node, self)
            if replacement is None or replacement is node:
                self.add(node)
            else:
                self._swaps[node] = replacement
        self.network.nodes = [*self._leaves, *self._order]
        self.network.result = map_nodes(self.network.result, self.current)
        changed = bool(self._swaps) or len(self.network.nodes) != len(before)
        self.network.prune()
        return changed

    def current(self, node: Node) -> Node:
        """Return what replaces a node by now."""
        while node in self._swaps:
            node = self._swaps[node]
        return node

    def add(self, node: Node) -> Node:
        """Insert a new node before the current one, and return it; leaves come first, each once."""
        if node.leaf is not None:
            self._leaves[node] = None
        else:
            self._order.append(node)
        return node

    def has_one_user(self, node: Node) -> bool:
        """Return whether the node is as old as the pass, and exactly one node used it then."""
        return len(self.users.get(node, ())) == 1


def new(op: str, args: Mapping[str, Argument], like: Node, shape: Shape | None = None) -> Node:
    """Return a node with the dtype and label of another, and its shape unless another is passed."""
    return Node(op, dict(args), like.shape if shape is None else shape, like.dtype, like.label)
