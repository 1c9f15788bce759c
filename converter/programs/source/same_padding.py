"""SAME padding of images of any size, whose arithmetic on sizes is recognized by its values."""

from __future__ import annotations

import random
from typing import Any

from .evaluating import evaluate, evaluate_size
from .network import Network, Node, Rewriter, new

#: The function that is added to the text.
NAME = "pad_same"
TEXT = '''
def pad_same(x, kernel, stride, value=0.0):
    """Pad images as TensorFlow does for SAME: ceil(size / stride) windows, an odd row or column at the end."""
    padding = []
    for axis in (3, 2):
        total = max((x.shape[axis] - 1) // stride * stride + kernel - x.shape[axis], 0)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding, value=value)
'''
_USERS = {"conv2d": ("weight", 2), "max_pool2d": ("kernel_size", 0)}
_TRIALS = 40


def recognize_same_padding(network: Network) -> None:
    """Replace padding that is SAME for the convolution or pool after it by a call of one function."""
    users = network.users()

    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        if (
            node.op != "pad"
            or node.get("mode", "constant") != "constant"
            or len(node.args["pad"]) != 4
            or node.rank != 4
        ):
            return None
        if all(type(size) is int for size in node.args["pad"]):
            return None
        (user,) = users[node] if len(users.get(node, ())) == 1 else (node,)
        geometry = _read_geometry(user)
        if geometry is None or not _is_same(node, *geometry):
            return None
        inputs = [node.args["self"], *geometry]
        if node.get("value") not in (None, 0):
            inputs.append(node.args["value"])
        return rewriter.add(new("call", {"function": NAME, "inputs": inputs}, node))

    Rewriter(network).run(rule)


def _read_geometry(user: Node) -> tuple[int, int] | None:
    """Return the width of a square window, with its gaps, and its stride."""
    if user.op not in _USERS:
        return None
    name, first = _USERS[user.op]
    kernel = user.args[name].shape[2:] if first else _pair(user.args[name])
    strides = _pair(user.get("stride") or list(kernel))
    dilations = _pair(user.get("dilation") or 1)
    widths = {(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)}
    if len(widths) != 1 or len(set(strides)) != 1 or any(_pair(user.get("padding") or 0)):
        return None
    return widths.pop(), strides[0]


def _pair(value: Any) -> list[int]:
    if isinstance(value, int):
        return [value, value]
    return [value[0], value[0]] if len(value) == 1 else list(value)


def _is_same(node: Node, width: int, stride: int) -> bool:
    """Return whether the padding is that of SAME, at many sizes."""
    source: Node = node.args["self"]
    assert source.shape is not None
    symbols = {symbol for size in source.shape if type(size) is not int for symbol in size.free_symbols}
    generator = random.Random(0)
    try:
        for _ in range(_TRIALS):
            values = {symbol: generator.randint(2 * width, 600) for symbol in symbols}
            found = [evaluate(size, values) for size in node.args["pad"]]
            expected: list[int] = []
            for axis in (3, 2):
                size = evaluate_size(source.shape[axis], values)
                total = max((size - 1) // stride * stride + width - size, 0)
                expected += [total // 2, total - total // 2]
            if found != expected:
                return False
    except (KeyError, TypeError, RecursionError):
        return False
    return True
