"""Cells of recurrent networks; TensorFlow has them in float32 only."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cases import reals, single


def record(case):
    raw = tf.raw_ops
    x, cell, hidden = single(reals(2, 3)), single(reals(2, 4, seed=1)), single(reals(2, 4, seed=2))
    matrix, bias = single(reals(7, 16, seed=3)), single(reals(16, seed=4))
    peepholes = [single(reals(4, seed=number)) for number in (5, 6, 7)]
    names = ("wci", "wcf", "wco")
    for used in (False, True):
        for clip in (0.5, -1.0):
            attributes = {"forget_bias": 0.75, "cell_clip": clip, "use_peephole": used}
            case(
                f"LSTMBlockCell/{used}/{clip}",
                lambda x, c, h, w, b, *p, a=attributes: [
                    *raw.LSTMBlockCell(x=x, cs_prev=c, h_prev=h, w=w, b=b, **dict(zip(names, p, strict=True)), **a)
                ],
                x,
                cell,
                hidden,
                matrix,
                bias,
                *peepholes,
            )
            for version, extra in (("BlockLSTM", {"forget_bias": 0.75}), ("BlockLSTMV2", {})):
                attributes = {"cell_clip": clip, "use_peephole": used, **extra}
                case(
                    f"{version}/{used}/{clip}",
                    lambda x, c, h, w, b, *p, a=attributes, v=version: [
                        *getattr(raw, v)(
                            seq_len_max=tf.constant(5, tf.int64),
                            x=x,
                            cs_prev=c,
                            h_prev=h,
                            w=w,
                            b=b,
                            **dict(zip(names, p, strict=True)),
                            **a,
                        )
                    ],
                    single(reals(5, 2, 3)),
                    cell,
                    hidden,
                    matrix,
                    bias,
                    *peepholes,
                )
    case(
        "GRUBlockCell",
        lambda x, h, a, b, c, d: [*raw.GRUBlockCell(x=x, h_prev=h, w_ru=a, w_c=b, b_ru=c, b_c=d)],
        x,
        hidden,
        single(reals(7, 8)),
        single(reals(7, 4)),
        single(reals(8)),
        single(reals(4)),
    )
    logits = single(reals(9, 3, 4))
    logits[3] = logits[2]
    for merge in (False, True):
        for blank in (-1, 1):
            case(
                f"CTCGreedyDecoder/{merge}/{blank}",
                lambda x, n, m=merge, b=blank: [
                    *raw.CTCGreedyDecoder(inputs=x, sequence_length=n, merge_repeated=m, blank_index=b)
                ],
                logits,
                np.array([9, 5, 1], np.int32),
            )
