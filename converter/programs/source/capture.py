"""The capture of a module by `torch.export`, as a network."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.export.graph_signature import InputKind

from converter.engine.evaluator import NODE_KEY
from converter.errors import GraphError

from .network import Argument, Leaf, Network, Node, Shape

#: Python's operators on integers in exported graphs.
_NUMBERS = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.neg: "-",
    operator.ge: ">=",
    operator.gt: ">",
    operator.le: "<=",
    operator.lt: "<",
    operator.eq: "==",
    operator.ne: "!=",
    operator.truediv: "/",
}
#: Operations made of others whose result is always a tensor of its own.
_NEVER_VIEWS = {
    torch.ops.aten.batch_norm.default,
    torch.ops.aten.conv1d.default,
    torch.ops.aten.conv2d.default,
    torch.ops.aten.conv3d.default,
    torch.ops.aten.layer_norm.default,
    torch.ops.aten.linear.default,
}
_FUNCTIONS = {"sym_max": "max", "sym_min": "min", "sym_int": "int", "sym_float": "float", "sym_not": "not"}


def read_program(program: torch.export.ExportedProgram) -> Network:
    """Return an exported program as a network; raise `GraphError` for what source cannot say."""
    if not _is_functional(program.graph):
        # Without operations in place, but also without whole layers, such as a batch norm.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch 2.13 about its own code
            program = program.run_decompositions({})
    state: dict[str, Any] = {**program.state_dict, **program.constants}
    specs = iter(program.graph_signature.input_specs)
    parameters = set(program.graph_signature.parameters)
    known: dict[Any, Node] = {}
    inputs: list[Node] = []
    nodes: list[Node] = []
    result: Any = None
    for fx_node in program.graph.nodes:
        if fx_node.op == "placeholder":
            spec = next(specs)
            if spec.kind == InputKind.USER_INPUT:
                node = _describe(Node("input", {"name": fx_node.name}), fx_node)
                inputs.append(node)
            else:
                tensor = state[spec.target]
                is_parameter = spec.target in parameters
                leaf = Leaf(tensor.detach(), spec.target, is_parameter, bool(tensor.requires_grad))
                node = _describe(Node("leaf", {"leaf": leaf}), fx_node)
        elif fx_node.op == "call_function":
            node = _describe(_read_call(fx_node, known), fx_node)
        elif fx_node.op == "output":
            flat = _convert(fx_node.args[0], known)
            result = torch.utils._pytree.tree_unflatten(list(flat), program.call_spec.out_spec)
            continue
        else:
            raise GraphError(f"source cannot contain a {fx_node.op} of an exported program ({fx_node.target})")
        known[fx_node] = node
        nodes.append(node)
    network = Network(inputs, nodes, result)
    network.prune()
    return network


def _is_mutable(target: object) -> bool:
    """Return whether an operation changes its input; `detach_` of a constant changes nothing that source says."""
    if not isinstance(target, torch._ops.OpOverload) or target is torch.ops.aten.detach_.default:
        return False
    return target._schema.is_mutable


def _is_functional(graph: torch.fx.Graph) -> bool:
    """Return whether every operation in place may be replaced by the one that makes a tensor, as `silu_` by `silu`.

    It may if its input is a result of its own, without views, that no later operation has.
    """
    own: set[torch.fx.Node] = set()  # results that share memory with no other
    for node in graph.nodes:
        if not _is_mutable(node.target):
            if _makes_tensor(node):
                own.add(node)
            continue
        changed = node.args[0] if node.args else None
        if _without_effect(node.target) is None or not isinstance(changed, torch.fx.Node) or changed not in own:
            return False
        if any(user is not node and (user > node or user not in own) for user in changed.users):
            return False
        own.add(node)
    return True


def _without_effect(target: Any) -> torch._ops.OpOverload | None:
    """Return the operation that makes a tensor where this one changes its input, if there is one."""
    name = target._schema.name.partition("::")[2]
    if not name.endswith("_"):
        return None
    return getattr(getattr(torch.ops.aten, name[:-1], None), target._overloadname, None)


def _makes_tensor(node: torch.fx.Node) -> bool:
    """Return whether an operation's result shares no memory with its arguments."""
    target = node.target
    if node.op != "call_function" or not isinstance(target, torch._ops.OpOverload):
        return False
    if target in _NEVER_VIEWS:
        return True
    name = target.name()  # type: ignore[no-untyped-call]
    is_composed = torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd")
    return not is_composed and all(result.alias_info is None for result in target._schema.returns)


def _read_call(fx_node: Any, known: dict[Any, Node]) -> Node:
    target = fx_node.target
    args = _convert(fx_node.args, known)
    if target is operator.getitem:
        return Node("item", {"self": args[0], "index": args[1]})
    if target in _NUMBERS:
        return Node("number", {"symbol": _NUMBERS[target], "values": list(args)})
    name = getattr(target, "__name__", "")
    if name in _FUNCTIONS:
        return Node("number", {"symbol": _FUNCTIONS[name], "values": list(args)})
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
        raise GraphError(f"source cannot contain {target}, such as a loop or branch that depends on values")
    schema = target._schema
    named = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)}
    named |= {key: _convert(value, known) for key, value in fx_node.kwargs.items()}
    op = schema.name.partition("::")[2]
    if _is_mutable(target):  # in place, but its input is not used again
        op, target = op[:-1], _without_effect(target)
    if op == "sym_size":
        return Node("size", named)
    return Node(op, named, target=target)


def _convert(argument: Any, known: dict[Any, Node]) -> Argument:
    """Return an argument of an exported node, with our nodes for its nodes."""
    if isinstance(argument, torch.fx.Node):
        return known[argument]
    if isinstance(argument, list | tuple):
        return [_convert(item, known) for item in argument]
    return _shorten(argument) if isinstance(argument, float) else argument


def _shorten(value: float) -> float:
    """Return the decimal number with the fewest digits that is stored as the same float32, if the number is one."""
    if not math.isfinite(value) or float(np.float32(value)) != value:
        return value
    return float(str(np.float32(value)))


def _describe(node: Node, fx_node: Any) -> Node:
    """Add shape, dtype and label."""
    value = fx_node.meta.get("val")
    if isinstance(value, torch.Tensor):
        node.shape = _read_shape(value)
        node.dtype = value.dtype
    node.label = str(fx_node.meta.get("custom", {}).get(NODE_KEY, ""))
    return node


def _read_shape(tensor: torch.Tensor) -> Shape:
    sizes: Sequence[Any] = tensor.shape  # a number, or a symbol of the export
    return tuple(size if type(size) is int else size.node.expr for size in sizes)
