"""Lists of tensors, alone and as loops use them."""

from __future__ import annotations

import numpy as np
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

    common = {"element_dtype": tf.float64}

    def rows_of(handle, shape=(3,)):
        return raw.TensorListStack(input_handle=handle, element_shape=list(shape), **common)

    def gathered(x):
        handle = raw.TensorListFromTensor(tensor=x, element_shape=[3])
        return [
            raw.TensorListGather(input_handle=handle, indices=[2, 0, 2], element_shape=[3], **common),
            raw.TensorListGather(input_handle=handle, indices=tf.zeros([0], tf.int32), element_shape=[3], **common),
        ]

    def scattered(x):
        handle = raw.TensorListScatter(tensor=x, indices=[3, 0], element_shape=[3])
        wide = raw.TensorListScatterV2(tensor=x, indices=[1, 4], element_shape=[3], num_elements=6)
        existing = raw.TensorListScatterIntoExistingList(input_handle=wide, tensor=x * 2, indices=[0, 4])
        return [rows_of(handle), rows_of(wide), rows_of(existing)]

    def resized(x):
        handle = raw.TensorListFromTensor(tensor=x, element_shape=[3])
        longer, shorter = (raw.TensorListResize(input_handle=handle, size=size) for size in (4, 1))
        return [
            rows_of(longer),
            rows_of(shorter),
            rows_of(raw.TensorListConcatLists(input_a=longer, input_b=shorter, **common)),
        ]

    def joined(x):
        handle = raw.TensorListSplit(tensor=x, element_shape=[-1, 3], lengths=np.array([1, 3], np.int64))
        parts = [*raw.TensorListConcat(input_handle=handle, **common)]
        parts += [
            *raw.TensorListConcatV2(
                input_handle=handle, element_shape=[-1, 3], leading_dims=np.zeros(0, np.int64), **common
            )
        ]
        return [*parts, raw.TensorListGetItem(input_handle=handle, index=0, element_shape=[-1, 3], **common)]

    case("TensorListGather", gathered, reals(3, 3))
    case("TensorListScatter", scattered, reals(2, 3))
    case("TensorListResize", resized, reals(2, 3))
    case("TensorListConcat", joined, reals(4, 3))

    def optional(x):
        some, nothing = raw.OptionalFromValue(components=[x, x * 2]), raw.OptionalNone()
        values = raw.OptionalGetValue(optional=some, output_types=[tf.float64] * 2, output_shapes=[[3]] * 2)
        return [*values, raw.OptionalHasValue(optional=some), raw.OptionalHasValue(optional=nothing)]

    def trained_loop(x):
        """A loop with a branch keeps what its gradient needs, also if only the loss is fetched."""

        @tf.function
        def loss_of(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                state = x
                for number in tf.range(4):
                    if tf.reduce_sum(state) > 1:
                        state = tf.tanh(state * x)
                    else:
                        state += tf.sigmoid(x) * tf.cast(number, tf.float64)
                loss = tf.reduce_sum(state * state)
            return loss, tape.gradient(loss, x)

        return [loss_of(x)[0]]

    case("OptionalFromValue", optional, reals(3))
    case("loss of a trained loop", trained_loop, reals(3))
