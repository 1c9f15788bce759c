"""Write the recurrent cells of tests/data/recurrent with real TensorFlow: names of its cells, random values, outputs.

Run from the root of the repository, in the environment that regenerate.py describes::

    TF_USE_LEGACY_KERAS=1 .tensorflow/bin/python tests/data/regenerate/recurrent_cells.py

A checkpoint for each case, two of them with their graph, and `golden.npz` with the input and the output of each.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_keras

v1 = tf.compat.v1
TARGET = Path(__file__).resolve().parent.parent / "recurrent"
INPUTS, UNITS, STEPS = 3, 4, 5


def basic_lstm(x: Any) -> Any:
    """BasicLSTMCell."""
    return v1.nn.dynamic_rnn(v1.nn.rnn_cell.BasicLSTMCell(UNITS), x, dtype=tf.float32)[0]


def projected_lstm(x: Any) -> Any:
    """LSTMCell with a projection."""
    return v1.nn.dynamic_rnn(v1.nn.rnn_cell.LSTMCell(UNITS, num_proj=2), x, dtype=tf.float32)[0]


def stacked_lstm(x: Any) -> Any:
    """Two LSTMCells, one on the other."""
    cells = [v1.nn.rnn_cell.LSTMCell(UNITS) for _ in range(2)]
    return v1.nn.dynamic_rnn(v1.nn.rnn_cell.MultiRNNCell(cells), x, dtype=tf.float32)[0]


def bidirectional_lstm(x: Any) -> Any:
    """LSTMCells in both directions."""
    cells = [v1.nn.rnn_cell.LSTMCell(UNITS) for _ in range(2)]
    return tf.concat(v1.nn.bidirectional_dynamic_rnn(*cells, x, dtype=tf.float32)[0], 2)


def block(x: Any, *, second: bool) -> Any:
    """The fused operation of LSTMBlockFusedCell, or its second version, whose gates have Keras's order."""
    with v1.variable_scope("lstm_cell"):
        kernel = v1.get_variable("kernel", (INPUTS + UNITS, 4 * UNITS))
        bias = v1.get_variable("bias", (4 * UNITS,))
    zeros = tf.zeros((tf.shape(x)[0], UNITS))
    none = tf.zeros((UNITS,))
    common = {"seq_len_max": np.int64(STEPS), "cs_prev": zeros, "h_prev": zeros, "w": kernel}
    common |= {"wci": none, "wcf": none, "wco": none, "b": bias, "x": tf.transpose(x, (1, 0, 2)), "cell_clip": 0.0}
    result = tf.raw_ops.BlockLSTMV2(**common) if second else tf.raw_ops.BlockLSTM(**common, forget_bias=1.0)
    return tf.transpose(result.h, (1, 0, 2))


def keras(layer: Any) -> Callable[[Any], Any]:
    """A layer of Keras."""
    return lambda x: layer()(x)


CASES: dict[str, Callable[[Any], Any]] = {
    "basic_lstm": basic_lstm,
    "projected_lstm": projected_lstm,
    "stacked_lstm": stacked_lstm,
    "bidirectional_lstm": bidirectional_lstm,
    "block_lstm": lambda x: block(x, second=False),
    "block_lstm_v2": lambda x: block(x, second=True),
    "keras_lstm": keras(lambda: tf_keras.layers.LSTM(UNITS, return_sequences=True)),
    "keras_lstm_no_bias": keras(lambda: tf_keras.layers.LSTM(UNITS, return_sequences=True, use_bias=False)),
    "keras_gru": keras(lambda: tf_keras.layers.GRU(UNITS, return_sequences=True, reset_after=True)),
    "keras_gru_before": keras(lambda: tf_keras.layers.GRU(UNITS, return_sequences=True, reset_after=False)),
    "gru": lambda x: v1.nn.dynamic_rnn(v1.nn.rnn_cell.GRUCell(UNITS), x, dtype=tf.float32)[0],
    "peephole_lstm": lambda x: v1.nn.dynamic_rnn(
        v1.nn.rnn_cell.LSTMCell(UNITS, use_peepholes=True), x, dtype=tf.float32
    )[0],
}


def main() -> None:
    """Save the checkpoints and record the outputs."""
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    value = np.random.default_rng(8).normal(size=(2, STEPS, INPUTS)).astype(np.float32)
    golden = {"input": value}
    for number, (name, build) in enumerate(CASES.items()):
        generator = np.random.default_rng(number)
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, (None, STEPS, INPUTS), name="x")
            output = tf.identity(build(x), name="y")
            variables = v1.global_variables()
            for variable in variables:
                variable.load(generator.normal(0, 0.5, variable.shape).astype(np.float32), session)
            golden[name] = session.run(output, {x: value})
            prefix = str(TARGET / name)
            v1.train.Saver(variables).save(session, prefix, write_state=False, write_meta_graph=False)
            if name in ("basic_lstm", "keras_gru"):
                v1.train.export_meta_graph(
                    prefix + ".meta", graph=tf.compat.v1.get_default_graph(), strip_default_attrs=True
                )
    np.savez_compressed(TARGET / "golden.npz", **golden)


if __name__ == "__main__":
    main()
