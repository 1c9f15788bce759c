"""Lists of tensors, alone and as loops use them."""

from __future__ import annotations

import tensorflow as tf

from cases import reals


def record(case):
    raw = tf.raw_ops

    def reserved(x):
        handle = raw.TensorListReserve(element_shape=[3], num_elements=4, element_dtype=tf.float64)
        handle = raw.TensorListSetItem(input_handle=handle, index=2, item=x)
        return [
            raw.TensorListStack(input_handle=handle, element_shape=[3], element_dtype=tf.float64),
            raw.TensorListGetItem(input_handle=handle, index=0, element_shape=[3], element_dtype=tf.float64),
            raw.TensorListLength(input_handle=handle),
            raw.TensorListElementShape(input_handle=handle, shape_type=tf.int32),
        ]

    def pushed(x):
        handle = raw.EmptyTensorList(element_shape=-1, max_num_elements=-1, element_dtype=tf.float64)
        handle = raw.TensorListPushBack(input_handle=handle, tensor=x)
        handle = raw.TensorListPushBack(input_handle=handle, tensor=x * 2)
        rest, last = raw.TensorListPopBack(input_handle=handle, element_shape=-1, element_dtype=tf.float64)
        return [
            last,
            raw.TensorListLength(input_handle=rest),
            raw.TensorListStack(input_handle=handle, element_shape=-1, element_dtype=tf.float64),
        ]

    def from_rows(x):
        handle = raw.TensorListFromTensor(tensor=x, element_shape=[3])
        return [raw.TensorListGetItem(input_handle=handle, index=1, element_shape=[3], element_dtype=tf.float64)]

    case("TensorListReserve", reserved, reals(3))
    case("TensorListPushBack", pushed, reals(3))
    case("TensorListFromTensor", from_rows, reals(2, 3))
    case("map_fn", lambda x: tf.map_fn(lambda row: tf.reduce_sum(row) * row, x), reals(4, 3))
    case("scan", lambda x: tf.scan(lambda state, row: 0.5 * state + row, x), reals(5, 3))
