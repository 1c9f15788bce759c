"""A class for a scope that repeats: layers whose names begin alike, and the operations between them.

A block has one to three inputs and one result. Blocks that differ only in numbers of their layers share a class, which
gets those numbers as arguments.
"""

from __future__ import annotations

import builtins
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from .network import RESULT, Block, Layer, Network, Node, Rewriter, map_nodes
from .quoting import make_free
from .simplifying import freeze

#: The least number of operations of a block, and the most arguments of its class.
_LEAST_OPERATIONS = 3
_MOST_ARGUMENTS = 8
_MOST_INPUTS = 3
_LONGEST_CLASS = 32
#: The most nodes that are looked at for each node of the network.
_BUDGET = 60
#: Operations that belong to the block whose result they use, if they use nothing else but its input.
_TAIL = {"add", "mul", "cat", "relu", "relu6", "silu", "gelu", "sigmoid", "hardswish", "elu", "leaky_relu", "tanh"}
_NUMBERED = re.compile(r".*\d[a-z]?$")
_NUMBER = re.compile(r"((?:[a-z_]+=)?)(\d+)$")
_ARGUMENTS = {
    "Conv": ("in_channels", "out_channels", "kernel_size"),
    "Linear": ("in_features", "out_features"),
    "BatchNorm": ("num_features",),
    "LayerNorm": ("num_features",),
}


@dataclasses.dataclass(slots=True)
class _Region:
    prefix: str
    nodes: list[Node]
    entries: list[Node]
    exit: Node


def group_blocks(network: Network) -> None:
    """Replace the blocks of a network whose layers have names by calls of classes."""
    finder = _Finder(network)
    groups: dict[Any, list[_Region]] = {}
    for prefix in finder.prefixes():
        region = finder.find(prefix)
        if region is not None:
            groups.setdefault(_key(region), []).append(region)
    taken: set[Node] = set()
    classes: set[str] = {"F", "Model"}
    replaced: dict[Node, Node] = {}
    names = {node.args["layer"].name for node in network.nodes if node.op == "layer"}
    # The largest first: what is inside them stays inside.
    for regions in sorted(groups.values(), key=lambda group: -len(group[0].nodes)):
        free = [region for region in regions if not taken.intersection(region.nodes) and region.prefix not in names]
        if len(free) < 2:
            continue
        calls = _make_class(free, classes)
        if calls is None:
            continue
        for region, call in zip(free, calls, strict=True):
            taken.update(region.nodes)
            replaced[region.exit] = call

    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        if node not in replaced:
            return None
        call = replaced[node]
        call.args["inputs"] = map_nodes(call.args["inputs"], rewriter.current)
        return rewriter.add(call)

    if replaced:
        Rewriter(network).run(rule)


class _Finder:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._users = network.users()
        self._positions = {node: position for position, node in enumerate(network.nodes)}
        self._calls: dict[str, list[Node]] = {}
        self._of_layer: dict[int, list[Node]] = {}
        self._left = _BUDGET * len(network.nodes)
        for node in network.nodes:
            if node.op == "layer":
                self._of_layer.setdefault(id(node.args["layer"]), []).append(node)
                parts = node.args["layer"].name.split("_")
                for count in range(1, len(parts)):
                    if _NUMBERED.match(parts[count - 1]):
                        self._calls.setdefault("_".join(parts[:count]), []).append(node)

    def prefixes(self) -> Iterator[str]:
        """Yield the beginnings of names that several layers share."""
        yield from (prefix for prefix, calls in self._calls.items() if len(calls) > 1)

    def find(self, prefix: str) -> _Region | None:
        """Return the region of the layers with a prefix, if it has one input and one result."""
        inside = set(self._calls[prefix])
        first = min(map(self._positions.__getitem__, inside))
        last = max(map(self._positions.__getitem__, inside))
        self._left -= last - first
        if self._left < 0:
            return None
        after: set[Node] = set()
        for node in self._network.nodes[first : last + 1]:
            if node in inside or any(used in after for used in node.inputs()):
                after.add(node)
        before: set[Node] = set()
        for node in reversed(self._network.nodes[first : last + 1]):
            if node in inside or any(user in before for user in self._users[node]):
                before.add(node)
        inside |= after & before
        self._add_tail(inside)
        return self._check(prefix, inside)

    def _exits(self, inside: set[Node]) -> list[Node]:
        return [node for node in inside if any(user not in inside for user in self._users[node])]

    def _entries(self, inside: set[Node]) -> set[Node]:
        return {used for node in inside for used in _data(node) if used not in inside}

    def _add_tail(self, inside: set[Node]) -> None:
        while True:
            users = {user for node in self._exits(inside) for user in self._users[node] if user not in inside}
            if len(users) != 1:
                return
            (user,) = users
            if user is RESULT or user.op not in _TAIL or not set(_data(user)) <= inside | self._entries(inside):
                return
            inside.add(user)

    def _check(self, prefix: str, inside: set[Node]) -> _Region | None:
        exits, entries = self._exits(inside), self._entries(inside)
        if len(exits) != 1 or not 1 <= len(entries) <= _MOST_INPUTS or len(inside) < _LEAST_OPERATIONS:
            return None
        nodes = sorted(inside, key=self._positions.__getitem__)
        ordered = [used for used in dict.fromkeys(used for node in nodes for used in _data(node)) if used in entries]
        for node in inside:
            if node.shape is None or any(used.shape is None for used in node.inputs()):
                return None  # sizes would come from outside
            if node.op == "layer":
                layer: Layer = node.args["layer"]
                if not layer.name.startswith(f"{prefix}_") or any(
                    call not in inside for call in self._of_layer[id(layer)]
                ):
                    return None
            elif any(used.leaf is not None for used in node.inputs()):
                return None
        region = _Region(prefix, nodes, ordered, exits[0])
        names = [_relative(region, layer) for layer in _layers(region)]
        is_plain = all(entry.shape is not None for entry in ordered) and len(set(names)) == len(names)
        return region if is_plain else None


def _data(node: Node) -> Iterator[Node]:
    return (used for used in node.inputs() if used.leaf is None)


def _layers(region: _Region) -> list[Layer]:
    """Return the layers of a region in the order of their first calls."""
    found = {id(node.args["layer"]): node.args["layer"] for node in region.nodes if node.op == "layer"}
    return list(found.values())


def _relative(region: _Region, layer: Layer) -> str:
    """Return a layer's name inside its block; a number in front goes to the end."""
    name = re.sub(r"^(\d+)_(.+)$", r"\2_\1", layer.name[len(region.prefix) + 1 :])
    name = f"layer_{name}" if name[0].isdigit() else name
    return make_free(name)


def _key(region: _Region) -> Any:
    """Return what blocks of one class have in common."""
    numbers: dict[Node, int] = {entry: -1 - number for number, entry in enumerate(region.entries)}
    layers = {id(layer): number for number, layer in enumerate(_layers(region))}
    parts: list[Any] = []
    for number, node in enumerate(region.nodes):
        numbers[node] = number
        args: Any = node.args
        if node.op == "layer":
            layer: Layer = node.args["layer"]
            skeleton = tuple(_NUMBER.sub(r"\1#", argument) for argument in layer.arguments)
            name = _relative(region, layer)
            args = {
                "layer": (layers[id(layer)], name, layer.kind, skeleton, tuple(layer.state)),
                "x": node.args["inputs"],
            }
        parts.append((node.op, freeze(map_nodes(args, lambda used: ("node", numbers[used]))), node.dtype))
    return tuple(parts), numbers[region.exit]


def _make_class(regions: list[_Region], classes: set[str]) -> list[Node] | None:
    """Return a call of one class for each region, or None if the class would have too many arguments."""
    members = [_layers(region) for region in regions]
    arguments: dict[tuple[str, ...], str] = {}
    template = []
    for number, layer in enumerate(members[0]):
        texts = []
        for position, text in enumerate(layer.arguments):
            found = tuple(member[number].arguments[position] for member in members)
            match = _NUMBER.match(text)
            if match is None or len(set(found)) == 1:
                texts.append(text)
                continue
            values = tuple(value.rpartition("=")[2] for value in found)
            if values not in arguments:
                arguments[values] = _name_argument(layer.kind, position, match[1], set(arguments.values()))
            texts.append(f"{match[1]}{arguments[values]}")
        name = _relative(regions[0], layer)
        template.append(Layer(layer.kind, tuple(texts), dict(layer.state), name=name, label=layer.label))
    if len(arguments) > _MOST_ARGUMENTS:
        return None
    block = Block(_name_class(regions[0].prefix, classes), tuple(arguments.values()), _make_inner(regions[0], template))
    calls = []
    for number, region in enumerate(regions):
        values = tuple(value[number] for value in arguments)
        state = {
            f"{own.name}.{key}": leaf
            for own, layer in zip(template, members[number], strict=True)
            for key, leaf in layer.state.items()
        }
        layer = Layer(block.name, values, state, name=region.prefix, block=block)
        node = region.exit
        args = {"layer": layer, "inputs": list(region.entries)}
        calls.append(Node("layer", args, node.shape, node.dtype, node.label))
    return calls


def _make_inner(region: _Region, template: list[Layer]) -> Network:
    """Return the network inside a block."""
    own = dict(zip(map(id, _layers(region)), template, strict=True))
    entries = [Node("input", {"name": "x"}, entry.shape, entry.dtype) for entry in region.entries]
    copies: dict[Node, Node] = dict(zip(region.entries, entries, strict=True))
    for node in region.nodes:
        args = {
            name: own[id(value)] if isinstance(value, Layer) else map_nodes(value, copies.__getitem__)
            for name, value in node.args.items()
        }
        copies[node] = dataclasses.replace(node, args=args)
    return Network(entries, list(copies.values()), copies[region.exit])


def _name_argument(kind: str, position: int, keyword: str, taken: set[str]) -> str:
    usual = next((names for start, names in _ARGUMENTS.items() if kind.startswith(start)), ())
    name = keyword.rstrip("=") or (usual[position] if position < len(usual) else f"size_{position}")
    base, number = name, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def _name_class(prefix: str, taken: set[str]) -> str:
    """Return a class name: the prefix without its number, with capitals."""
    parts = [re.sub(r"\d+[a-z]?$", "", part) for part in prefix.split("_")]
    name = "".join(part[:1].upper() + part[1:] for part in parts)[:_LONGEST_CLASS]
    if len(name) < 3 or hasattr(builtins, name) or not name.isidentifier():
        name = "Block"
    base, number = name, 1
    while name in taken:
        number += 1
        name = f"{base}{number}"
    taken.add(name)
    return name
