"""Matrix products, diagonals and bands."""

from __future__ import annotations

import torch

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_int, to_ints, to_tensor, to_tensors
from converter.errors import GraphError


def _transpose_if(matrix: Tensor, *, is_transposed: bool) -> Tensor:
    return matrix.transpose(-1, -2) if is_transposed else matrix


def _adjoin_if(matrix: Tensor, *, is_adjoined: bool) -> Tensor:
    """Return the conjugate transpose."""
    return matrix.mH if is_adjoined else matrix


@op("MatMul", outputs=("product",))
def matmul(call: Call, a: Value, b: Value) -> Value:
    """Multiply two matrices."""
    left, right = to_tensors(call.dtype, a, b)
    left = _transpose_if(left, is_transposed=call.flag("transpose_a"))
    return left @ _transpose_if(right, is_transposed=call.flag("transpose_b"))


@op("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def batch_matmul(call: Call, x: Value, y: Value) -> Value:
    """Multiply the matrices in the last two axes; the other axes are broadcast."""
    left, right = to_tensors(call.dtype, x, y)
    left = _adjoin_if(left, is_adjoined=call.flag("adj_x"))
    return left @ _adjoin_if(right, is_adjoined=call.flag("adj_y"))


@op("Einsum")
def einsum(call: Call, *inputs: Value) -> Value:
    """Sum products of the inputs as the node's equation says."""
    return torch.einsum(str(call.get("equation", "")), to_tensors(call.dtype, *inputs))


@op("MatrixBandPart", outputs=("band",))
def band_part(call: Call, value: Value, lower: Value, upper: Value) -> Value:
    """Return the matrix with zeros outside a band; a negative width keeps the whole triangle."""
    x = to_tensor(value, call.dtype)
    below, above = to_int(lower), to_int(upper)
    rows = torch.arange(x.shape[-2], device=x.device)[:, None]
    columns = torch.arange(x.shape[-1], device=x.device)
    kept = torch.ones(x.shape[-2:], dtype=torch.bool, device=x.device)
    if below >= 0:
        kept &= rows - columns <= below
    if above >= 0:
        kept &= columns - rows <= above
    return torch.where(kept, x, torch.zeros((), dtype=x.dtype, device=x.device))


@op("Diag", "MatrixDiag")
def diagonal_matrix(call: Call, diagonal: Value) -> Value:
    """Return zeros with the input on the diagonal."""
    vector = to_tensor(diagonal, call.dtype)
    if call.op == "MatrixDiag" or vector.ndim == 1:
        return torch.diag_embed(vector)
    return torch.diag_embed(vector.reshape(-1)).reshape([*vector.shape, *vector.shape])


@op("MatrixDiagV2", "MatrixDiagV3")
def diagonal_matrix_v3(call: Call, diagonal: Value, k: Value, *sizes_and_padding: Value) -> Value:
    """Return a matrix filled with `padding` and the vector on one diagonal; it is square unless its size is given."""
    rows, columns, padding = sizes_and_padding
    vector, fill = to_tensors(call.dtype, diagonal, padding)
    offset = _read_offset(k)
    height, width = to_int(rows), to_int(columns)
    least_height = vector.shape[-1] - min(offset, 0)
    least_width = vector.shape[-1] + max(offset, 0)
    if height == width == -1:
        height = width = max(least_height, least_width)
    height = least_height if height == -1 else height
    width = least_width if width == -1 else width
    call.check_size([*vector.shape[:-1], height, width])
    matrix = fill.expand([*vector.shape[:-1], height, width])
    return torch.diagonal_scatter(matrix, vector, offset, -2, -1)


@op("DiagPart", "MatrixDiagPart", outputs=("diagonal",))
def diagonal_part(call: Call, value: Value) -> Value:
    """Return the main diagonal of the last two axes."""
    return torch.diagonal(to_tensor(value, call.dtype), 0, -2, -1)


@op("MatrixDiagPartV2", "MatrixDiagPartV3", outputs=("diagonal",))
def diagonal_part_v3(call: Call, value: Value, k: Value, padding: Value) -> Value:
    """Return one diagonal of the last two axes; a single diagonal needs no padding."""
    del padding
    return torch.diagonal(to_tensor(value, call.dtype), _read_offset(k), -2, -1)


@op("MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3")
def set_diagonal(call: Call, value: Value, diagonal: Value, k: Value | None = None) -> Value:
    """Return the matrix with one diagonal replaced."""
    matrix, vector = to_tensors(call.dtype, value, diagonal)
    return torch.diagonal_scatter(matrix, vector, 0 if k is None else _read_offset(k), -2, -1)


def _read_offset(k: Value) -> int:
    first, *rest = to_ints(k)
    if any(other != first for other in rest):
        raise GraphError(f"bands of diagonals {to_ints(k)} are not supported, only single diagonals")
    return first
