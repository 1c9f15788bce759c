"""Sparse tensors, as three dense ones: the positions of elements, their values, and the shape of the whole."""

from __future__ import annotations

import numpy as np
import torch

from converter.engine.registry import Call, op
from converter.engine.values import Array, Tensor, Value, to_array, to_dtype, to_ints, to_tensor, to_tensors
from converter.errors import GraphError

from .indexing import gather_rows


def _take(call: Call, values: Value, order: Array) -> Value:
    return gather_rows(call, values, order, 0, 0)


@op("SparseToDense", outputs=("dense",))
def to_dense(call: Call, positions: Value, shape: Value, values: Value, default: Value) -> Value:
    """Return a dense tensor with the default value everywhere else."""
    sizes = to_ints(shape)
    call.check_size(sizes)
    places = to_array(positions).astype(np.int64)
    places = places.reshape(-1, len(sizes)) if places.ndim < 2 else places
    if places.size and (places.min() < 0 or (places >= np.array(sizes)).any()):
        raise GraphError(f"a position is not inside of the shape {sizes}")
    if isinstance(values, np.ndarray) and isinstance(default, np.ndarray):
        dense = np.full(sizes, default)
        dense[tuple(places.T)] = values
        return dense
    new, fill = to_tensors(call.dtype, values, default)
    base = fill.expand(sizes)
    index = tuple(torch.from_numpy(places).unbind(1))
    return base.clone().index_put(index, new.expand(places.shape[0])) if places.size else base


@op("SparseTensorDenseMatMul", outputs=("product",))
def multiply(call: Call, positions: Value, values: Value, shape: Value, dense: Value) -> Value:
    """Multiply a sparse matrix by a dense one."""
    rows, numbers, matrix = to_tensors(call.dtype, positions, values, dense)
    height, width = to_ints(shape)
    row, column = rows.unbind(1)
    if call.flag("adjoint_a"):
        row, column, height, width = column, row, width, height
        numbers = numbers.conj() if numbers.is_complex() else numbers
    matrix = matrix.mH if call.flag("adjoint_b") else matrix
    if matrix.shape[0] != width:
        raise GraphError(f"a matrix with {width} columns does not fit one with {matrix.shape[0]} rows")
    call.check_size([height, matrix.shape[1]])
    parts = numbers[:, None] * matrix[to_dtype(column, torch.int64)]
    return matrix.new_zeros([height, matrix.shape[1]]).index_add(0, to_dtype(row, torch.int64), parts)


@op("SparseReorder", outputs=("output_indices", "output_values"))
def reorder(call: Call, positions: Value, values: Value, shape: Value) -> tuple[Value, Value]:
    """Return the elements in the order of their positions."""
    del shape
    places = to_array(positions)
    order = np.lexsort(places.T[::-1]) if places.size else np.zeros(0, np.int64)
    return to_tensor(places[order], call.dtype), _take(call, values, order)


@op("SparseReshape", outputs=("output_indices", "output_shape"))
def reshape(call: Call, positions: Value, shape: Value, new_shape: Value) -> tuple[Value, Value]:
    """Return the positions in another shape, one size of which may be -1."""
    old, new = to_ints(shape), to_ints(new_shape)
    total = int(np.prod(old, dtype=object))
    known = int(np.prod([size for size in new if size != -1], dtype=object))
    sizes = [total // max(known, 1) if size == -1 else size for size in new]
    if int(np.prod(sizes, dtype=object)) != total:
        raise GraphError(f"cannot reshape {old} to {new}")
    flat = np.ravel_multi_index(tuple(to_array(positions).T), old) if total else np.zeros(0, np.int64)
    places = (
        np.stack(np.unravel_index(flat, sizes), -1).astype(np.int64) if total else np.zeros((0, len(sizes)), np.int64)
    )
    return to_tensor(places, call.dtype), np.array(sizes, np.int64)


_FILLED = ("output_indices", "output_values", "empty_row_indicator", "reverse_index_map")


@op("SparseFillEmptyRows", outputs=_FILLED)
def fill_empty_rows(call: Call, positions: Value, values: Value, shape: Value, default: Value) -> tuple[Value, ...]:
    """Return the elements with one of the default value in each row without any, and where each element went."""
    places = to_array(positions).astype(np.int64).reshape(-1, len(to_ints(shape)))
    rows = to_ints(shape)[0]
    call.check_size([rows], 8)
    counts = np.bincount(places[:, 0], minlength=rows)
    is_empty = counts == 0
    added = np.zeros((int(is_empty.sum()), places.shape[1]), np.int64)
    added[:, 0] = np.flatnonzero(is_empty)
    joined = np.concatenate([places, added])
    order = np.argsort(joined[:, 0], kind="stable")
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    filled: Value
    if isinstance(values, np.ndarray) and isinstance(default, np.ndarray):
        filled = np.concatenate([values, np.full(len(added), default, values.dtype)])[order]
    else:
        old, new = to_tensors(call.dtype, values, default)
        filled = torch.cat([old, new.reshape(1).expand(len(added))])[torch.from_numpy(order)]
    return (
        to_tensor(joined[order], call.dtype),
        filled,
        to_tensor(is_empty, call.dtype),
        to_tensor(back[: len(places)], call.dtype),
    )


@op("SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN")
def reduce_rows(call: Call, data: Value, indices: Value, segments: Value) -> Value:
    """Return the sum of selected rows for each segment, divided by their number or its square root."""
    table, rows, owners = to_tensors(call.dtype, data, indices, segments)
    owners = to_dtype(owners, torch.int64)
    count = int(owners[-1]) + 1 if owners.numel() else 0
    call.check_size([count, *table.shape[1:]])
    total: Tensor = table.new_zeros([count, *table.shape[1:]]).index_add(0, owners, table[to_dtype(rows, torch.int64)])
    if call.op == "SparseSegmentSum":
        return total
    numbers = torch.bincount(owners, minlength=count).clamp(min=1).to(table.dtype)
    numbers = numbers if call.op == "SparseSegmentMean" else numbers.sqrt()
    return total / numbers.reshape([-1] + [1] * (table.ndim - 1))
