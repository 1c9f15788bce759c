"""Losses of classifiers, and what counts classes."""

from __future__ import annotations

import numpy as np
import torch

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_dtype, to_int, to_tensor, to_tensors
from converter.errors import GraphError


@op("SoftmaxCrossEntropyWithLogits", outputs=("loss", "backprop"))
def softmax_cross_entropy(call: Call, features: Value, labels: Value) -> tuple[Value, Value]:
    """Return the cross-entropy of each row of logits and probabilities, and its gradient."""
    logits, wanted = to_tensors(call.dtype, features, labels)
    logarithms = torch.log_softmax(logits, -1)
    # A probability of zero adds nothing, even to a logarithm of minus infinity.
    terms = torch.where(wanted == 0, 0, wanted * logarithms)
    return -terms.sum(-1), torch.exp(logarithms) - wanted


@op("SparseSoftmaxCrossEntropyWithLogits", outputs=("loss", "backprop"))
def sparse_softmax_cross_entropy(call: Call, features: Value, labels: Value) -> tuple[Value, Value]:
    """Return the cross-entropy of each row of logits and its class, and its gradient; NaN for a class out of range."""
    logits, classes = to_tensors(call.dtype, features, labels)
    count = logits.shape[-1]
    known = (classes >= 0) & (classes < count)
    index = to_dtype(torch.where(known, classes, torch.zeros_like(classes)), torch.int64)[:, None]
    logarithms = torch.log_softmax(logits, -1)
    loss = -logarithms.gather(1, index).squeeze(1)
    gradient = torch.exp(logarithms) - torch.zeros_like(logits).scatter(1, index, 1.0)
    nothing = torch.full((), torch.nan, dtype=logits.dtype)
    return torch.where(known, loss, nothing), torch.where(known[:, None], gradient, nothing)


@op("InTopK", "InTopKV2", outputs=("precision",))
def in_top_k(call: Call, predictions: Value, targets: Value, *k: Value) -> Value:
    """Return whether the value of each target class is among the largest k; equal values count as larger for none."""
    rows, classes = to_tensors(call.dtype, predictions, targets)
    count = to_int(k[0]) if k else int(call.get("k", 1))
    known = (classes >= 0) & (classes < rows.shape[-1])
    index = to_dtype(torch.where(known, classes, torch.zeros_like(classes)), torch.int64)[:, None]
    chosen = rows.gather(1, index)
    larger = (rows > chosen).sum(-1)
    return known & torch.isfinite(chosen.squeeze(1)) & torch.isfinite(rows).all(-1) & (larger < count)


@op("Bincount", outputs=("bins",))
def bincount(call: Call, values: Value, size: Value, weights: Value) -> Value:
    """Return how often each integer up to `size` occurs, or the sum of its weights."""
    numbers, factors = to_tensors(call.dtype, values, weights)
    kind = call.torch_dtype("T")
    return _count(call, numbers.reshape(1, -1), factors, to_int(size), kind=kind).reshape(-1)


@op("DenseBincount")
def dense_bincount(call: Call, values: Value, size: Value, weights: Value) -> Value:
    """Return the same as `bincount`, for each row of a matrix; with `binary_output`, whether an integer occurs."""
    numbers, factors = to_tensors(call.dtype, values, weights)
    counts = _count(
        call, numbers.reshape(-1, numbers.shape[-1]), factors, to_int(size), kind=call.torch_dtype("T", "float32")
    )
    return counts if numbers.ndim == 2 else counts.reshape(-1)


def _count(call: Call, rows: Tensor, weights: Tensor, size: int, *, kind: torch.dtype) -> Tensor:
    call.check_size([rows.shape[0], size])
    if not torch.compiler.is_compiling() and bool((rows < 0).any()):
        raise GraphError("the numbers to count must not be negative")
    counted = rows < size
    index = to_dtype(torch.where(counted, rows, torch.zeros_like(rows)), torch.int64)
    is_binary = call.flag("binary_output")
    factors = torch.ones_like(rows, dtype=kind) if is_binary or not weights.numel() else weights.reshape(rows.shape)
    factors = torch.where(counted, to_dtype(factors, kind), torch.zeros((), dtype=kind))
    counts = torch.zeros(rows.shape[0], size, dtype=kind).scatter_add(1, index, factors)
    return counts.clamp(max=1) if is_binary else counts


@op("ListDiff", outputs=("out", "idx"))
def list_difference(call: Call, x: Value, y: Value) -> tuple[Value, Value]:
    """Return the elements of x that are not in y, in order, and their positions."""
    left = x if isinstance(x, np.ndarray) else to_tensor(x, call.dtype).numpy(force=True)
    right = y if isinstance(y, np.ndarray) else to_tensor(y, call.dtype).numpy(force=True)
    excluded = set(right.ravel().tolist())
    positions = [at for at, item in enumerate(left.ravel().tolist()) if item not in excluded]
    kind = np.int64 if call.type_name("out_idx", "int32") == "int64" else np.int32
    kept = left[np.array(positions, np.int64)]
    return (kept if isinstance(x, np.ndarray) else torch.from_numpy(kept)), np.array(positions, kind)
