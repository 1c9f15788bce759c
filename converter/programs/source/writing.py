"""The text of the whole module, and the tensors of its state dict."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from tfckpt.errors import pluralize

from . import same_padding, signals
from .blocks import group_blocks
from .naming import name_layers
from .network import Layer, Leaf, Network, Node
from .quoting import Names
from .statements import ForwardWriter, Statement

WIDTH = 120
_INDENT = " " * 8


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """The source of a module: its text, and the tensors of its state dict by name."""

    text: str
    tensors: dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True, slots=True)
class WrittenSource(Source):
    """Source with what was recognized.

    `layers` is the number of recognized layers, `lines` that of the statements of `forward`, and `permutes` how many of
    these contain a permutation or reshape.
    """

    layers: int
    lines: int
    permutes: int

    def describe(self) -> str:
        """Return what was recognized, as a sentence."""
        return f"{pluralize(self.layers, 'layer')} recognized; forward has {pluralize(self.lines, 'line')}"


def write_module(network: Network, *, nests: bool) -> WrittenSource:
    """Return the source of a network whose layers are recognized."""
    attributes = name_layers(network)
    if nests:
        group_blocks(network)
    symbols = _Symbols(network)
    tensors: dict[str, torch.Tensor] = {}
    for layer in _own_layers(network):
        _add_state(layer, tensors)
    for node, name in attributes.items():
        tensors[name] = _stored(node.args["leaf"])
    blocks = {id(layer.block): layer.block for layer in _own_layers(network) if layer.block is not None}
    classes: list[str] = []
    statements: list[Statement] = []
    for block in blocks.values():
        lines, written = _write_class(block.name, block.arguments, block.network, {}, symbols, nests=nests)
        classes += [*lines, "", ""]
        statements += written
    lines, written = _write_class("Model", (), network, attributes, symbols, nests=nests)
    statements += written
    text = "\n".join(
        [*_HEAD, *_helpers([network, *(block.network for block in blocks.values())]), *classes, *lines, *_tail(tensors)]
    )
    moved = sum(any(word in statement.text for word in (".permute(", ".reshape(")) for statement in statements)
    layers = sum(_count_layers(layer) for layer in _own_layers(network))
    return WrittenSource(text, tensors, layers, len(statements) + 1 + len(blocks), moved)


def _own_layers(network: Network) -> list[Layer]:
    """Return the layers of a network, each once, in the order of their first calls."""
    found = {id(node.args["layer"]): node.args["layer"] for node in network.nodes if node.op == "layer"}
    return list(found.values())


def _count_layers(layer: Layer) -> int:
    return 1 if layer.block is None else sum(map(_count_layers, _own_layers(layer.block.network)))


def _add_state(layer: Layer, tensors: dict[str, torch.Tensor]) -> None:
    """Add the tensors of a layer by their names in the state dict."""
    for name, state in layer.state.items():
        tensors[f"{layer.name}.{name}"] = _stored(state.args["leaf"])
    inner = [layer] if layer.block is None else _own_layers(layer.block.network)
    for part in inner:
        if part.kind.startswith("BatchNorm"):
            name = layer.name if layer.block is None else f"{layer.name}.{part.name}"
            tensors[f"{name}.num_batches_tracked"] = torch.tensor(0)


def _write_class(
    name: str,
    parameters: tuple[str, ...],
    network: Network,
    attributes: dict[Node, str],
    symbols: _Symbols,
    *,
    nests: bool,
) -> tuple[list[str], list[Statement]]:
    """Return the lines of a class, and the statements of its `forward`."""
    names = Names(["forward", "load_file", same_padding.NAME, signals.NAME])
    usual = "xyz" if name != "Model" else ""
    arguments = {
        node: usual[number] if usual else names.keep(node.args["name"]) for number, node in enumerate(network.inputs)
    }
    writer = ForwardWriter(network, attributes, arguments, nests=nests, is_block=name != "Model")
    statements, result = writer.write()
    body = _write_body(statements, result, symbols, shows=name == "Model")
    if writer.uses_dtype:
        body.insert(0, f"{_INDENT}dtype = {_dtype_source(network, attributes)}")
    shapes = "; ".join(f"{argument} is {symbols.describe(node)}" for node, argument in arguments.items() if node.shape)
    lines = [
        f"class {name}(nn.Module):",
        *_explode(f"    def __init__({', '.join(['self', *parameters])}):", "    "),
        "        super().__init__()",
        *_write_init(network, attributes),
        "",
        *_explode(f"    def forward({', '.join(['self', *arguments.values()])}):", "    "),
        *(_comment(shapes) if name == "Model" else []),
        *body,
    ]
    return lines, statements


def _helpers(networks: list[Network]) -> list[str]:
    """Return the functions that `forward` calls."""
    used = {node.args["function"] for network in networks for node in network.nodes if node.op == "call"}
    texts = [module.TEXT for module in (same_padding, signals) if module.NAME in used]
    return [line for text in texts for line in (*text.strip().split("\n"), "", "")]


_HEAD = (
    '"""A network written from a TensorFlow graph; it needs PyTorch, and safetensors to load the weights."""',
    "",
    "import torch",
    "import torch.nn.functional as F",
    "from torch import nn",
    "",
    "",
)


def _tail(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the function that loads the weights; kernels of images are stored with the channels last, if possible.

    Then every convolution of an image computes so, which is faster, whatever is before it.
    """
    ranks = {tensor.ndim for tensor in tensors.values()}
    return [
        "",
        "",
        "def load(path):",
        '    """Return the network with the weights of a safetensors file, in the mode for inference."""',
        "    from safetensors.torch import load_file",
        "",
        "    model = Model()",
        "    model.load_state_dict(load_file(path))",
        f"    return model{'.to(memory_format=torch.channels_last)' if 4 in ranks and 5 not in ranks else ''}.eval()",
        "",
    ]


def _write_init(network: Network, attributes: dict[Node, str]) -> list[str]:
    lines: list[str] = []
    for layer in _own_layers(network):
        kind = layer.kind if layer.block is not None else f"nn.{layer.kind}"
        lines += _explode(f"{_INDENT}self.{layer.name} = {kind}({', '.join(layer.arguments)})", _INDENT)
    for node, name in attributes.items():
        lines += _explode(f"{_INDENT}{_write_tensor(node.args['leaf'], name)}", _INDENT)
    return lines


def _stored(leaf: Leaf) -> torch.Tensor:
    return leaf.tensor.detach().contiguous().clone()


def _write_tensor(leaf: Leaf, name: str) -> str:
    sizes = ", ".join(map(str, leaf.tensor.shape)) or "()"
    is_float = leaf.tensor.is_floating_point()
    if leaf.is_parameter and is_float:
        frozen = "" if leaf.is_trained else ", requires_grad=False"
        return f"self.{name} = nn.Parameter(torch.zeros({sizes}){frozen})"
    kind = "" if is_float else f", dtype={leaf.tensor.dtype}"
    return f'self.register_buffer("{name}", torch.zeros({sizes}{kind}))'


def _dtype_source(network: Network, attributes: dict[Node, str]) -> str:
    """Return where `forward` finds the floating-point type of the module."""
    for node in network.nodes:
        if node.op == "layer":
            return f"self.{node.args['layer'].name}.{next(iter(node.args['layer'].state))}.dtype"
    for node, name in attributes.items():
        if node.args["leaf"].tensor.is_floating_point():
            return f"self.{name}.dtype"
    return "torch.get_default_dtype()"


def _write_body(statements: list[Statement], result: str, symbols: _Symbols, *, shows: bool) -> list[str]:
    lines: list[str] = []
    previous: Any = None
    for statement in statements:
        text = f"{_INDENT}{statement.variable} = {statement.text}"
        shape = statement.node.shape
        comment = "" if shape is None or shape == previous or not shows else f"  # {symbols.describe(statement.node)}"
        previous = shape if shape is not None else previous
        if len(text) > WIDTH:
            lines += _explode(text, _INDENT)
        elif len(text) + len(comment) > WIDTH:
            lines.append(text)
        else:
            lines.append(text + comment)
    return lines + _explode(f"{_INDENT}return {result}", _INDENT)


def _comment(text: str) -> list[str]:
    line = f"{_INDENT}# {text}"
    return [line] if text and len(line) <= WIDTH else []


class _Symbols:
    """Letters for the symbols of dynamic sizes."""

    def __init__(self, network: Network) -> None:
        self._names: dict[Any, str] = {}
        for node in network.inputs:
            sizes = node.shape or ()
            usual = iter("T" if len(sizes) == 3 else "HW")
            for axis, size in enumerate(sizes):
                if type(size) is not int and getattr(size, "is_Symbol", False) and size not in self._names:
                    name = "N" if axis == 0 else next(usual, "")
                    is_free = name and name not in self._names.values()
                    self._names[size] = name if is_free else f"S{len(self._names)}"

    def describe(self, node: Node) -> str:
        """Return a shape as text."""
        sizes = [self._size(size) for size in node.shape or ()]
        return f"[{', '.join(sizes)}]"

    def _size(self, size: Any) -> str:
        if type(size) is int:
            return str(size)
        import sympy

        symbols = {symbol: sympy.Symbol(name) for symbol, name in self._names.items()}
        text = str(size.xreplace(symbols))
        return text if len(text) <= 16 and text.isprintable() else "?"


def _explode(line: str, indent: str) -> list[str]:
    """Return a line as it is, or with the arguments of its last outermost brackets one a line if it is too long."""
    if len(line) <= WIDTH:
        return [line]
    opening = _find_opening(line)
    if opening is None:
        return [line]
    closing = _find_closing(line, opening)
    arguments = _split_arguments(line[opening + 1 : closing])
    inner = indent + "    "
    lines = [line[: opening + 1]]
    for argument in arguments:
        text = f"{inner}{argument},"
        lines += _explode(text[:-1], inner) if len(text) > WIDTH else [text]
        if len(text) > WIDTH:
            lines[-1] += ","
    return [*lines, f"{indent}{line[closing:]}"]


def _find_opening(line: str) -> int | None:
    """Return the position of the last opening bracket that is not inside others."""
    depth = 0
    found = None
    quoted = False
    for position, character in enumerate(line):
        if character == '"' and line[position - 1] != "\\":
            quoted = not quoted
        if quoted:
            continue
        if character in "([{":
            if depth == 0:
                found = position
            depth += 1
        elif character in ")]}":
            depth -= 1
    return found


def _find_closing(line: str, opening: int) -> int:
    depth = 0
    quoted = False
    for position in range(opening, len(line)):
        character = line[position]
        if character == '"' and line[position - 1] != "\\":
            quoted = not quoted
        if quoted:
            continue
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return position
    raise AssertionError("brackets do not match")


def _split_arguments(text: str) -> list[str]:
    parts: list[str] = []
    depth = 0
    quoted = False
    start = 0
    for position, character in enumerate(text):
        if character == '"' and text[position - 1] != "\\":
            quoted = not quoted
        if quoted:
            continue
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]
