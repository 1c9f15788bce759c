"""Convolutions along one axis, which TensorFlow computes as those of images with one row."""

from __future__ import annotations

from typing import Any

from .folding import Leaves
from .network import Network, Node, Rewriter, new


def recognize_sequences(network: Network, leaves: Leaves) -> None:
    """Replace a convolution of a tensor with an added axis by one without the axis, which is added afterwards."""

    def rule(node: Node, rewriter: Rewriter) -> Node | None:
        if node.op != "conv2d" or node.shape is None or isinstance(node.get("padding"), str):
            return None
        weight, pad = node.args["weight"], node.args["input"]
        added: Node = pad.args["self"] if pad.op == "pad" else pad
        if added.op != "regrid" or weight.leaf is None or (pad.op == "pad" and not rewriter.has_one_user(pad)):
            return None
        axis = next((axis for axis in (2, 3) if added.args["axes"][axis] is None and weight.shape[axis] == 1), None)
        if axis is None or _pick(node.get("padding", 0), axis) != 0 or _pick(node.get("stride", 1), axis) < 1:
            return None
        kept = tuple(old for position, old in enumerate(added.args["axes"]) if position != axis)
        x = rewriter.add(new("regrid", {"self": added.args["self"], "axes": kept}, added, _without(added.shape, axis)))
        if pad.op == "pad":
            flat = _without_axis(pad, axis)
            if flat is None:
                return None
            args = {**pad.args, "self": x, "pad": flat}
            x = rewriter.add(new("pad", args, pad, _without(pad.shape, axis)))
        other = 5 - axis
        args = {"input": x, "weight": rewriter.add(leaves.change(weight, ("reshape", *_without(weight.shape, axis))))}
        if node.get("bias") is not None:
            args["bias"] = node.args["bias"]
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1)):
            args[name] = [_pick(node.get(name, default), other)]
        args["groups"] = node.get("groups", 1)
        line = rewriter.add(new("conv1d", args, node, _without(node.shape, axis)))
        axes = tuple(None if position == axis else position - (position > axis) for position in range(4))
        return rewriter.add(new("regrid", {"self": line, "axes": axes}, node))

    Rewriter(network).run(rule)


def _pick(value: Any, axis: int) -> Any:
    """Return the number for a spatial axis, of one for all or one for each."""
    if isinstance(value, int):
        return value
    return value[0] if len(value) == 1 else value[axis - 2]


def _without(shape: Any, axis: int) -> tuple[Any, ...]:
    return tuple(size for position, size in enumerate(shape) if position != axis)


def _without_axis(pad: Node, axis: int) -> list[Any] | None:
    """Return padding without an axis; None if that axis is padded."""
    flat = list(pad.args["pad"])
    first = 2 * (pad.rank - 1 - axis)
    if flat[first : first + 2] not in ([], [0, 0]):
        return None
    return flat[:first] + flat[first + 2 :]
