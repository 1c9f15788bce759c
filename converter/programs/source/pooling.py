"""Pools with their padding, as PyTorch writes it."""

from __future__ import annotations

from typing import Any

from .network import Network, Node, Rewriter, new

#: Results that are never negative, so that a padding of zeros does not change the largest value of a window.
_NOT_NEGATIVE = {"relu", "relu6", "sigmoid", "hardsigmoid", "softmax"}


def recognize_pools(network: Network) -> None:
    """Move padding into the pools that follow it, where both compute the same."""
    Rewriter(network).run(_max_pool)
    Rewriter(network).run(_mean_pool)


def _pairs(pad: Node, spatial: int) -> list[tuple[int, int]] | None:
    """Return the padding of the spatial axes, from the first; None if other axes are padded or sizes are symbols."""
    flat = pad.args["pad"]
    if len(flat) > 2 * spatial or not all(type(size) is int and size >= 0 for size in flat):
        return None
    pairs = [(flat[2 * axis], flat[2 * axis + 1]) for axis in range(len(flat) // 2)]
    return [(0, 0)] * (spatial - len(pairs)) + pairs[::-1]


def _spread(value: Any, spatial: int) -> list[int]:
    if isinstance(value, int):
        return [value] * spatial
    return list(value) * spatial if len(value) == 1 else list(value)


def _max_pool(node: Node, rewriter: Rewriter) -> Node | None:
    if node.op not in ("max_pool2d", "max_pool3d") or node.args["self"].op != "pad":
        return None
    pad = node.args["self"]
    value = pad.get("value")
    is_ignored = value == float("-inf") or (value in (None, 0) and pad.args["self"].op in _NOT_NEGATIVE)
    if (
        not is_ignored
        or pad.get("mode", "constant") != "constant"
        or node.get("padding") not in (None, 0, [0, 0], [0, 0, 0])
    ):
        return None
    found = _fit(node, pad)
    return None if found is None else rewriter.add(new(node.op, {**node.args, **found}, node))


def _fit(node: Node, pad: Node) -> dict[str, Any] | None:
    """Return the arguments that pad a pool as `pad` does, or None."""
    spatial = node.rank - 2
    pairs = _pairs(pad, spatial)
    source: Node = pad.args["self"]
    kernel = _spread(node.args["kernel_size"], spatial)
    strides = _spread(node.get("stride") or kernel, spatial)
    if pairs is None or source.shape is None or node.get("ceil_mode"):
        return None
    if all(before == after and 2 * before <= size for (before, after), size in zip(pairs, kernel, strict=True)):
        return {"self": source, "padding": [before for before, _ in pairs]}
    sizes = source.shape[2:]
    if any(type(size) is not int for size in sizes) or node.shape is None:
        return None
    padding = [before for before, _ in pairs]
    for size, width, stride, before, count in zip(sizes, kernel, strides, padding, node.shape[2:], strict=True):
        # With `ceil_mode` a last window may reach over the end, but not begin there.
        rounded = -(-(size + 2 * before - width) // stride) + 1
        if (rounded - 1) * stride >= size + before:
            rounded -= 1
        if rounded != count or 2 * before > width:
            return None
    return {"self": source, "padding": padding, "ceil_mode": True}


def _mean_pool(node: Node, rewriter: Rewriter) -> Node | None:
    """Recognize the mean of a padded tensor divided by the mean of its padded ones."""
    if node.op != "div" or node.get("rounding_mode") is not None:
        return None
    pool, inside = node.args["self"], node.args["other"]
    if not isinstance(pool, Node) or not isinstance(inside, Node):
        return None
    if not all(part.op in ("avg_pool2d", "avg_pool3d") and part.args["self"].op == "pad" for part in (pool, inside)):
        return None
    pads = pool.args["self"], inside.args["self"]
    ones: Node = pads[1].args["self"]
    same = all(pool.args.get(name) == inside.args.get(name) for name in ("kernel_size", "stride", "padding"))
    spatial = node.rank - 2
    if not same or ones.op not in ("new_ones", "ones", "ones_like") or ones.shape is None or ones.rank != node.rank:
        return None
    source = pads[0].args["self"]
    if _pairs(pads[0], spatial) is None or _pairs(pads[0], spatial) != _pairs(pads[1], spatial):
        return None
    if (
        source.shape is None
        or source.shape[2:] != ones.shape[2:]
        or any(pad.get("value") not in (None, 0) for pad in pads)
    ):
        return None
    found = _fit(pool, pads[0])
    if found is None:
        return None
    return rewriter.add(new(pool.op, {**pool.args, **found, "count_include_pad": False}, node))
