"""Sparse tensors as three dense ones."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import reals


def record(case):
    raw = tf.raw_ops
    places, shape = np.array([[3, 1], [0, 2], [3, 0], [1, 1]], np.int64), np.array([5, 3], np.int64)
    values = reals(4)
    case(
        "SparseToDense",
        lambda i, v: raw.SparseToDense(
            sparse_indices=i,
            output_shape=shape,
            sparse_values=v,
            default_value=tf.constant(-1.0, tf.float64),
            validate_indices=False,
        ),
        places,
        values,
    )
    case(
        "SparseToDense/vector",
        lambda i: raw.SparseToDense(sparse_indices=i, output_shape=[6], sparse_values=7, default_value=-1),
        np.array([1, 4], np.int32),
    )
    case(
        "SparseToDense/none",
        lambda i, v: raw.SparseToDense(
            sparse_indices=i, output_shape=shape, sparse_values=v, default_value=tf.constant(2.0, tf.float64)
        ),
        places[:0],
        values[:0],
    )
    for first in (False, True):
        for second in (False, True):
            dense = reals(*((5, 2) if first else (3, 2)))
            case(
                f"SparseTensorDenseMatMul/{first}/{second}",
                lambda i, v, b, f=first, s=second: raw.SparseTensorDenseMatMul(
                    a_indices=i, a_values=v, a_shape=shape, b=b, adjoint_a=f, adjoint_b=s
                ),
                places,
                values,
                dense.T.copy() if second else dense,
            )
    case(
        "SparseReorder",
        lambda i, v: [*raw.SparseReorder(input_indices=i, input_values=v, input_shape=shape)],
        places,
        values,
    )
    for new in ([15], [3, -1], [5, 3, 1]):
        case(
            f"SparseReshape/{new}",
            lambda i, n=new: [*raw.SparseReshape(input_indices=i, input_shape=shape, new_shape=np.array(n, np.int64))],
            places,
        )
    ordered = places[[1, 3, 2, 0]]
    case(
        "SparseFillEmptyRows",
        lambda i, v: [
            *raw.SparseFillEmptyRows(indices=i, values=v, dense_shape=shape, default_value=tf.constant(9.0, tf.float64))
        ],
        ordered,
        values,
    )
    for kind in ("Sum", "Mean", "SqrtN"):
        case(
            f"SparseSegment{kind}",
            lambda x, i, s, k=kind: getattr(raw, f"SparseSegment{k}")(data=x, indices=i, segment_ids=s),
            reals(5, 2),
            np.array([0, 3, 3, 1], np.int32),
            np.array([0, 0, 2, 2], np.int32),
        )
