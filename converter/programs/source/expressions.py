"""The text of one operation, as a call of torch.

An operation without an entry is a call of the function of this name in `torch`, of the method of this name, or of the
ATen operation itself, with the arguments by name: always right, if not always pretty.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from .network import Argument, Node
from .quoting import quote

#: The text of an argument.
Render = Callable[[Argument], str]
#: The text of an operation; the second argument is the text of its arguments.
Form = Callable[[Node, "Texts"], str]

INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "matmul": "@",
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
    "eq": "==",
    "ne": "!=",
    "bitwise_and": "&",
    "bitwise_or": "|",
    "bitwise_xor": "^",
    "logical_and": None,
}
#: Functions of `torch.nn.functional`, with the names of their arguments after the first in the schema.
_FUNCTIONAL = {
    "relu": (),
    "relu6": (),
    "silu": (),
    "mish": (),
    "selu": (),
    "hardswish": (),
    "hardsigmoid": (),
    "softplus": ("beta", "threshold"),
    "gelu": ("approximate",),
    "elu": ("alpha",),
    "leaky_relu": ("negative_slope",),
    "conv1d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv2d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv3d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
    "linear": ("weight", "bias"),
}
#: Defaults that need no argument.
_DEFAULTS: dict[str, Argument] = {
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "dilation": 1,
    "groups": 1,
    "bias": None,
    "alpha": 1,
    "beta": 1,
    "threshold": 20,
    "keepdim": False,
    "ceil_mode": False,
    "count_include_pad": True,
    "divisor_override": None,
    "rounding_mode": None,
    "approximate": "none",
    "memory_format": None,
    "non_blocking": False,
    "copy": False,
    "implicit": False,
    "half_to_float": False,
    "pin_memory": False,
    "layout": torch.strided,
}
#: Arguments that are never written: the program decides them.
_SILENT = {"pin_memory", "layout", "memory_format", "non_blocking", "implicit"}
#: Methods whose numbers are arguments of their own.
_SPREAD = {"permute": "dims", "reshape": "shape", "expand": "size", "repeat": "repeats", "tile": "dims"}
_METHODS = {
    "mean",
    "sum",
    "amax",
    "amin",
    "permute",
    "reshape",
    "expand",
    "repeat",
    "flatten",
    "cumsum",
    "flip",
    "roll",
}
_METHODS |= {
    "squeeze",
    "unsqueeze",
    "to",
    "detach",
    "argmax",
    "argmin",
    "any",
    "all",
    "select",
    "type_as",
    "masked_fill",
}


class Texts:
    """The text of the arguments of one node."""

    def __init__(self, node: Node, render: Render, *, dtype: Callable[[torch.dtype], str], device: str) -> None:
        self._node = node
        self._render = render
        self._dtype = dtype
        self._device = device

    def __getitem__(self, name: str) -> str:
        """Return the text of an argument."""
        return self.of(self._node.args[name])

    def of(self, value: Argument) -> str:
        """Return the text of a value."""
        if isinstance(value, Node):
            return self._render(value)
        if isinstance(value, list | tuple):
            items = [self.of(item) for item in value]
            if any(isinstance(item, Node) and item.shape is not None for item in value) or None in value:
                return f"[{', '.join(items)}]"
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        if isinstance(value, torch.dtype):
            return self._dtype(value)
        if isinstance(value, torch.device):
            return self._device
        return literal(value)

    def spread(self, name: str) -> str:
        """Return the texts of a list of numbers, without brackets."""
        return ", ".join(self.of(item) for item in self._node.args[name])

    def short(self, name: str) -> str:
        """Return a list of equal numbers as one number."""
        value = self._node.args[name]
        if isinstance(value, list | tuple) and value and all(item == value[0] for item in value):
            return self.of(value[0])
        return self.of(value)


def literal(value: Argument) -> str:
    """Return a number, string or constant of torch as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, float | int | bool) or value is None:
        return repr(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, torch.layout | torch.memory_format):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} as text")


def is_default(name: str, value: Argument) -> bool:
    """Return whether an argument needs no mention."""
    if name in _SILENT:
        return True
    if name not in _DEFAULTS:
        return False
    default = _DEFAULTS[name]
    if isinstance(value, list | tuple):
        return all(item == default for item in value)
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


def write_call(node: Node, texts: Texts) -> str:
    """Return the text of an operation."""
    symbol = INFIX.get(node.op)
    if symbol and set(node.args) <= {"self", "other"}:
        return f"{texts['self']} {symbol} {texts['other']}"
    if node.op in _FORMS:
        return _FORMS[node.op](node, texts)
    if node.op in _FUNCTIONAL:
        return _write_functional(node, texts)
    if node.op in _METHODS:
        return _write_method(node, texts)
    return _write_generic(node, texts)


def _write_functional(node: Node, texts: Texts) -> str:
    names = _FUNCTIONAL[node.op]
    first = "self" if "self" in node.args else "input"
    parts = [texts[first]]
    for name in names:
        if name not in node.args or is_default(name, node.args[name]):
            continue
        value = texts.short(name)
        parts.append(value if name == "weight" else f"{name}={value}")
    return f"F.{node.op}({', '.join(parts)})"


def _write_method(node: Node, texts: Texts) -> str:
    parts: list[str] = []
    for name, value in node.args.items():
        if name == "self" or is_default(name, value):
            continue
        if _SPREAD.get(node.op) == name:
            parts.append(texts.spread(name))
        elif name in ("dim", "dtype", "other") and not any("=" in part for part in parts):
            single = isinstance(value, list | tuple) and len(value) == 1
            parts.append(texts.of(value[0]) if single else texts[name])
        else:
            parts.append(f"{name}={texts[name]}")
    return f"{texts['self']}.{node.op}({', '.join(parts)})"


def _write_generic(node: Node, texts: Texts) -> str:
    names = list(node.args)
    positional = True
    parts: list[str] = []
    for name in names:
        value = node.args[name]
        if name in _SILENT or (is_default(name, value) and name in ("alpha", "rounding_mode", "keepdim")):
            positional = False
            continue
        is_tensor = isinstance(value, Node) and value.shape is not None
        if positional and (is_tensor or not parts):
            parts.append(texts[name])
        else:
            positional = False
            parts.append(f"{name}={texts[name]}")
    if hasattr(torch, node.op) and not node.op.startswith("_"):
        return f"torch.{node.op}({', '.join(parts)})"
    assert isinstance(node.target, torch._ops.OpOverload), f"{node.op} has no target"
    overload = node.target._overloadname or "default"
    parts = [f"{name}={texts[name]}" if name not in names[:1] else texts[name] for name in names]
    return f"torch.ops.aten.{node.op}.{overload}({', '.join(parts)})"


def _number(node: Node, texts: Texts) -> str:
    symbol, values = node.args["symbol"], node.args["values"]
    parts = [texts.of(value) for value in values]
    nested = [f"({part})" if isinstance(value, Node) and value.op == "number" and " " in part else part
              for part, value in zip(parts, values, strict=True)]  # fmt: skip
    if symbol in ("max", "min", "int", "float"):
        return f"{symbol}({', '.join(parts)})"
    if symbol == "not":
        return f"not {nested[0]}"
    return f"{symbol}{nested[0]}" if len(parts) == 1 else f" {symbol} ".join(nested)


def _regrid(node: Node, texts: Texts) -> str:
    """Write added axes as an index, removed ones as a squeeze."""
    axes: tuple[int | None, ...] = node.args["axes"]
    source: Node = node.args["self"]
    kept = [axis for axis in axes if axis is not None]
    removed = [axis for axis in range(source.rank) if axis not in kept]
    text = texts["self"]
    if removed and kept != sorted(kept):
        return f"{text}.permute({', '.join(map(str, kept))})"
    if removed:
        inside = ", ".join(map(str, removed))
        text = f"{text}.squeeze({inside if len(removed) == 1 else f'({inside})'})"
    if None not in axes:
        return text
    index = ["None" if axis is None else ":" for axis in axes]
    while index and index[-1] == ":":
        index.pop()
    return f"{text}[{', '.join(index)}]"


def _reshape(node: Node, texts: Texts) -> str:
    source: Node = node.args["self"]
    assert node.shape is not None and source.shape is not None
    kept = node.rank - 1
    if 0 < kept < source.rank - 1 and node.shape[:kept] == source.shape[:kept]:
        return f"{texts['self']}.flatten({kept})"
    return f"{texts['self']}.reshape({texts.spread('shape') or '()'})"


def _slice(node: Node, texts: Texts) -> str:
    start, end, step = node.get("start"), node.get("end"), node.get("step", 1)
    first = "" if start in (None, 0) else texts.of(start)
    last = "" if end is None or (isinstance(end, int) and end >= 1 << 62) else texts.of(end)
    by = "" if step == 1 else f":{texts.of(step)}"
    return f"{texts['self']}[{':, ' * node.get('dim', 0)}{first}:{last}{by}]"


def _select(node: Node, texts: Texts) -> str:
    return f"{texts['self']}[{':, ' * (node.args['dim'] % node.args['self'].rank)}{texts['index']}]"


def _pad(node: Node, texts: Texts) -> str:
    text = f"F.pad({texts['self']}, {texts['pad']}"
    mode, value = node.get("mode", "constant"), node.get("value")
    if mode != "constant":
        text += f", mode={texts['mode']}"
    if value not in (None, 0):
        text += f", value={texts.of(value)}"
    return f"{text})"


def _pool(node: Node, texts: Texts) -> str:
    text = f"F.{node.op}({texts['self']}, {texts.short('kernel_size')}"
    if node.get("stride") not in (None, []):
        text += f", {texts.short('stride')}"
    for name in ("padding", "dilation", "ceil_mode", "count_include_pad", "divisor_override"):
        if name in node.args and not is_default(name, node.args[name]):
            text += f", {name}={texts.short(name)}"
    return f"{text})"


def _clamp(node: Node, texts: Texts) -> str:
    parts = [f"{name}={texts[name]}" for name in ("min", "max") if node.get(name) is not None]
    return f"torch.clamp({texts['self']}, {', '.join(parts)})"


def _cat(node: Node, texts: Texts) -> str:
    return f"torch.{node.op}([{texts.spread('tensors')}], {texts.of(node.get('dim', 0))})"


def _dropout(node: Node, texts: Texts) -> str:
    return f"F.dropout({texts['input']}, {texts['p']}, self.training)"


def _embedding(node: Node, texts: Texts) -> str:
    return f"F.embedding({texts['indices']}, {texts['weight']})"


def _batch_norm(node: Node, texts: Texts) -> str:
    names = ("weight", "bias", "training", "momentum", "eps")
    parts = [texts["input"], texts["running_mean"], texts["running_var"]]
    parts += [f"{name}={texts[name]}" for name in names if name in node.args]
    return f"F.batch_norm({', '.join(parts)})"


def _softmax(node: Node, texts: Texts) -> str:
    return f"torch.{node.op}({texts['self']}, {texts['dim']})"


def _layer(node: Node, texts: Texts) -> str:
    return f"self.{node.args['layer'].name}({', '.join(texts.of(value) for value in node.args['inputs'])})"


def _call(node: Node, texts: Texts) -> str:
    return f"{node.args['function']}({', '.join(texts.of(value) for value in node.args['inputs'])})"


def _index(node: Node, texts: Texts) -> str:
    indices = [":" if index is None else texts.of(index) for index in node.args["indices"]]
    return f"{texts['self']}[{', '.join(indices)}]"


def _conv_transpose(node: Node, texts: Texts) -> str:
    parts = [texts["input"], texts["weight"]]
    for name in ("bias", "stride", "padding", "output_padding", "groups", "dilation"):
        if name in node.args and not is_default(name, node.args[name]):
            parts.append(f"{name}={texts.short(name)}")
    return f"F.{node.op}({', '.join(parts)})"


_FORMS: dict[str, Form] = {
    "size": lambda node, texts: f"{texts['self']}.shape[{node.args['dim']}]",
    "item": lambda node, texts: f"{texts['self']}[{node.args['index']}]",
    "neg": lambda node, texts: f"-{texts['self']}",
    "logical_not": lambda node, texts: f"torch.logical_not({texts['self']})",
    "number": _number,
    "regrid": _regrid,
    "reshape": _reshape,
    "slice": _slice,
    "select": _select,
    "pad": _pad,
    "clamp": _clamp,
    "cat": _cat,
    "stack": _cat,
    "embedding": _embedding,
    "dropout": _dropout,
    "batch_norm": _batch_norm,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "layer": _layer,
    "call": _call,
    "index": _index,
    "to": lambda node, texts: f"{texts['self']}.to({texts['dtype']})" if "dtype" in node.args else texts["self"],
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"), _pool),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _conv_transpose),
}
