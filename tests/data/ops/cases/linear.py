"""Products of matrices, diagonals and bands."""

# ruff: noqa: B008 (a default binds what the loop has at that moment)
from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import integers, reals


def record(case):
    raw = tf.raw_ops
    for left in (False, True):
        for right in (False, True):
            a, b = reals(*((4, 3) if left else (3, 4))), reals(*((5, 4) if right else (4, 5)))
            case(
                f"MatMul/{left}/{right}",
                lambda x, y, a=left, r=right: raw.MatMul(a=x, b=y, transpose_a=a, transpose_b=r),
                a,
                b,
            )
            for name in ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
                extra = {"Tout": tf.float64} if name == "BatchMatMulV3" else {}
                case(
                    f"{name}/{left}/{right}",
                    lambda x, y, a=left, r=right, op=getattr(raw, name), e=extra: op(x=x, y=y, adj_x=a, adj_y=r, **e),
                    np.stack([a, a + 1]),
                    np.stack([b, b - 1]),
                )
    case("MatMul/int32", lambda x, y: raw.MatMul(a=x, b=y), integers(3, 4), integers(4, 2))
    case("MatMul/empty", lambda x, y: raw.MatMul(a=x, b=y), reals(3, 0), reals(0, 2))
    case("BatchMatMulV2/broadcast", lambda x, y: raw.BatchMatMulV2(x=x, y=y), reals(2, 1, 3, 4), reals(5, 4, 2))
    equations = {
        "ab,bc->ac": ((3, 4), (4, 5)),
        "abc,cd->abd": ((2, 3, 4), (4, 5)),
        "BTNH,BFNH->BNFT": ((2, 3, 2, 4), (2, 5, 2, 4)),
        "...ij,...jk->...ik": ((2, 3, 4), (4, 5)),
        "ab->ba": ((3, 4),),
        "ab->": ((3, 4),),
        "aa->a": ((4, 4),),
        "a,b->ab": ((3,), (4,)),
        "abcd,cde->abe": ((2, 3, 2, 2), (2, 2, 5)),
        "aab,b->a": ((3, 3, 2), (2,)),
    }
    for equation, shapes in equations.items():
        case(
            f"Einsum/{equation}",
            lambda *xs, e=equation: raw.Einsum(inputs=xs, equation=e),
            *(reals(*shape, seed=n) for n, shape in enumerate(shapes)),
        )
    for lower, upper in ((-1, 0), (0, -1), (1, 1), (0, 0), (-1, -1), (2, 0)):
        case(
            f"MatrixBandPart/{lower}/{upper}",
            lambda x, w=lower, u=upper: raw.MatrixBandPart(input=x, num_lower=w, num_upper=u),
            reals(2, 4, 5),
        )
    case("Diag", lambda x: raw.Diag(diagonal=x), reals(4))
    case("Diag/two axes", lambda x: raw.Diag(diagonal=x), reals(2, 3))
    case("DiagPart", lambda x: raw.DiagPart(input=x), reals(4, 4))
    case("MatrixDiag", lambda x: raw.MatrixDiag(diagonal=x), reals(2, 3))
    case("MatrixDiagPart", lambda x: raw.MatrixDiagPart(input=x), reals(2, 3, 4))
    case("MatrixSetDiag", lambda x, d: raw.MatrixSetDiag(input=x, diagonal=d), reals(2, 3, 4), reals(2, 3))
    zero = np.float64(-7.5)
    for k in (0, 2, -1):
        for rows, columns in ((-1, -1), (6, -1), (-1, 7), (5, 6)):
            if rows != -1 and rows < 3 - min(k, 0):
                continue
            case(
                f"MatrixDiagV3/{k}/{rows}/{columns}",
                lambda d, p, k=k, r=rows, c=columns: raw.MatrixDiagV3(
                    diagonal=d, k=k, num_rows=r, num_cols=c, padding_value=p
                ),
                reals(2, 3),
                zero,
            ) if _fits(k, rows, columns) else None
        case(
            f"MatrixDiagPartV3/{k}",
            lambda x, p, k=k: raw.MatrixDiagPartV3(input=x, k=k, padding_value=p),
            reals(2, 4, 5),
            zero,
        )
        case(
            f"MatrixSetDiagV3/{k}",
            lambda x, d, k=k: raw.MatrixSetDiagV3(input=x, diagonal=d, k=k),
            reals(4, 5),
            reals({0: 4, 2: 3, -1: 3}[k]),
        )
    case(
        "MatrixDiagV2",
        lambda d: raw.MatrixDiagV2(
            diagonal=d, k=0, num_rows=-1, num_cols=-1, padding_value=tf.constant(0.0, tf.float64)
        ),
        reals(3),
    )
    case(
        "MatrixDiagPartV2",
        lambda x: raw.MatrixDiagPartV2(input=x, k=1, padding_value=tf.constant(0.0, tf.float64)),
        reals(3, 3),
    )
    case("MatrixSetDiagV2", lambda x, d: raw.MatrixSetDiagV2(input=x, diagonal=d, k=0), reals(3, 3), reals(3))


def _fits(k, rows, columns):
    """TensorFlow wants one of the sizes to be the least that holds a diagonal of 3."""
    least_rows, least_columns = 3 - min(k, 0), 3 + max(k, 0)
    return rows in (-1, least_rows) or columns in (-1, least_columns)
