"""Write tests/data/source/networks.npz: small frozen graphs, one for each pattern of source, with TensorFlow's outputs.

Run from the root of the repository, in the environment that regenerate.py describes::

    TF_USE_LEGACY_KERAS=1 .tensorflow/bin/python tests/data/regenerate/source_networks.py

Every network has an input `inputs` and an output `y`. `NAME/graph` is a GraphDef, `NAME/x` and `NAME/y` are values for
a batch of two. Networks whose names begin with `near_` look like a pattern and compute something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

TARGET = Path(__file__).resolve().parent.parent / "source" / "networks.npz"

IMAGE = (8, 8, 3)
SEQUENCE = (2, 3)
v1 = tf.compat.v1


class Weights:
    """Variables by name, with random values; positive ones for variances."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self.variables: dict[str, tf.Variable] = {}

    def __call__(self, name: str, *shape: int, positive: bool = False) -> Any:
        if name not in self.variables:
            draw = self._generator.uniform(0.5, 1.5, shape) if positive else self._generator.normal(0, 0.5, shape)
            self.variables[name] = tf.Variable(draw.astype(np.float32), name=name)
        return self.variables[name]


Network = Callable[[Weights, Any], Any]
NETWORKS: dict[str, tuple[tuple[int | None, ...], Network]] = {}


def network(*shape: int | None) -> Callable[[Network], Network]:
    """Register a network for inputs of this shape, without the batch."""

    def register(function: Network) -> Network:
        NETWORKS[function.__name__] = ((None, *shape), function)
        return function

    return register


@network(*IMAGE)
def convolutions(w: Weights, x: Any) -> Any:
    """SAME and VALID, strides, dilation, groups, a bias, a depthwise multiplier."""
    x = tf.nn.conv2d(x, w("stem/kernel", 3, 3, 3, 8), 2, "SAME", name="stem/conv") + w("stem/bias", 8)
    x = tf.nn.relu(x)
    x = tf.nn.depthwise_conv2d(x, w("middle/depthwise_kernel", 3, 3, 8, 2), (1, 1, 1, 1), "SAME")
    x = tf.nn.conv2d(x, w("middle/pointwise_kernel", 1, 1, 16, 8), 1, "VALID")
    x = tf.nn.conv2d(x, w("last/kernel", 3, 3, 4, 8), 1, "SAME", dilations=2)
    return tf.nn.bias_add(x, w("last/bias", 8))


@network(*IMAGE)
def transposed(w: Weights, x: Any) -> Any:
    """A transposed convolution with SAME padding."""
    kernel = w("up/kernel", 3, 3, 4, 3)
    return tf.nn.conv2d_transpose(x, kernel, [tf.shape(x)[0], 16, 16, 4], 2, "SAME") + w("up/bias", 4)


@network(None, None, 3)
def any_size(w: Weights, x: Any) -> Any:
    """SAME padding of images of any size, with strides."""
    x = tf.nn.relu(tf.nn.conv2d(x, w("first/kernel", 3, 3, 3, 8), 2, "SAME") + w("first/bias", 8))
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    x = tf.nn.depthwise_conv2d(x, w("second/depthwise_kernel", 5, 5, 8, 1), (1, 2, 2, 1), "SAME")
    return tf.reduce_mean(x, (1, 2))


@network(*IMAGE)
def fused_norm(w: Weights, x: Any) -> Any:
    """A fused batch norm."""
    x = tf.nn.conv2d(x, w("conv/kernel", 3, 3, 3, 4), 1, "SAME")
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    values = [w(f"bn/{name}", 4, positive=name[-1] in "ea") for name in names]
    return tf.nn.relu(tf.compat.v1.nn.fused_batch_norm(x, *values, epsilon=1e-3, is_training=False)[0])


@network(*IMAGE)
def written_norm(w: Weights, x: Any) -> Any:
    """The batch norm of `tf.nn.batch_normalization`."""
    x = tf.nn.conv2d(x, w("conv/kernel", 3, 3, 3, 4), 1, "SAME")
    mean, variance = w("bn/moving_mean", 4), w("bn/moving_variance", 4, positive=True)
    return tf.nn.batch_normalization(x, mean, variance, w("bn/beta", 4), w("bn/gamma", 4), 1e-3)


@network(*IMAGE)
def old_norm(w: Weights, x: Any) -> Any:
    """A batch norm as programs of TensorFlow 1 wrote it, without a scale."""
    x = tf.nn.conv2d(x, w("conv/kernel", 3, 3, 3, 4), 1, "SAME") + w("conv/bias", 4)
    root = tf.sqrt(w("bn/moving_variance", 4, positive=True) + 1e-5)
    return (x - w("bn/moving_mean", 4)) / root + w("bn/beta", 4)


@network(*IMAGE)
def near_norm(w: Weights, x: Any) -> Any:
    """Like a batch norm, but epsilon is added to the root."""
    x = tf.nn.conv2d(x, w("conv/kernel", 3, 3, 3, 4), 1, "SAME")
    root = tf.sqrt(w("bn/moving_variance", 4, positive=True)) + 1e-2
    return (x - w("bn/moving_mean", 4)) / root * w("bn/gamma", 4) + w("bn/beta", 4)


@network(*IMAGE)
def near_norm_of_columns(w: Weights, x: Any) -> Any:
    """Like a batch norm, but of columns and not of channels."""
    shape = (1, 8, 1)
    mean, variance = w("bn/moving_mean", *shape), w("bn/moving_variance", *shape, positive=True)
    return tf.nn.batch_normalization(x, mean, variance, w("bn/beta", *shape), w("bn/gamma", *shape), 1e-3)


@network(12, 3)
def convolution_of_sequences(w: Weights, x: Any) -> Any:
    """One axis, which TensorFlow extends to two and squeezes again."""
    x = tf.nn.relu(tf.nn.conv1d(x, w("first/kernel", 3, 3, 8), 1, "SAME") + w("first/bias", 8))
    x = tf.nn.conv1d(x, w("second/kernel", 4, 8, 8), 2, "SAME") + w("second/bias", 8)
    return tf.nn.batch_normalization(
        x, w("bn/mean", 8), w("bn/variance", 8, positive=True), w("bn/beta", 8), w("bn/gamma", 8), 1e-3
    )


@network(*IMAGE)
def squeeze_and_excitation(w: Weights, x: Any) -> Any:
    """Means of channels that scale the channels."""
    x = tf.nn.swish(tf.nn.conv2d(x, w("conv/kernel", 3, 3, 3, 8), 1, "SAME"))
    y = tf.reshape(tf.reduce_mean(x, (1, 2)), (-1, 1, 1, 8))
    y = tf.nn.swish(tf.nn.conv2d(y, w("reduce/kernel", 1, 1, 8, 2), 1, "SAME") + w("reduce/bias", 2))
    y = tf.nn.sigmoid(tf.nn.conv2d(y, w("expand/kernel", 1, 1, 2, 8), 1, "SAME") + w("expand/bias", 8))
    return x * y


@network(*IMAGE)
def pools(w: Weights, x: Any) -> Any:
    """Pools with every kind of padding, side by side."""
    x = tf.nn.conv2d(x, w("conv/kernel", 1, 1, 3, 4), 1, "SAME")
    first = tf.nn.max_pool2d(x, 3, 2, "SAME")
    second = tf.nn.avg_pool2d(x, 3, 2, "SAME")
    third = tf.nn.max_pool2d(tf.nn.avg_pool2d(x, 3, 1, "SAME"), 2, 2, "VALID")
    return tf.concat((first, second, third), 3)


@network(*IMAGE)
def dense(w: Weights, x: Any) -> Any:
    """A flattened image, and products along the last axis of three."""
    x = tf.nn.relu(tf.nn.conv2d(x, w("conv/kernel", 3, 3, 3, 4), 2, "SAME"))
    rows = tf.nn.tanh(tf.tensordot(tf.reshape(x, (-1, 4, 16)), w("rows/kernel", 16, 6), 1) + w("rows/bias", 6))
    flat = tf.reshape(x, (-1, 64)) @ w("flat/kernel", 64, 5) + w("flat/bias", 5)
    return tf.concat((flat, tf.reshape(rows, (-1, 24))), 1)


@network(5)
def activations(w: Weights, x: Any) -> Any:
    """Functions of one element, as TensorFlow and programs write them."""
    cubic = 0.7978845608 * (x + 0.044715 * x * x * x)
    return tf.concat(
        (
            x * tf.sigmoid(x),
            x / (1.0 + tf.exp(-x)),
            x * tf.nn.relu6(x + 3.0) / 6.0,
            tf.nn.relu6(x + 3.0) * 0.16666667,
            0.5 * x * (1.0 + tf.math.erf(x / 1.41421356)),
            0.5 * x * (1.0 + tf.tanh(cubic)),
            x * tf.tanh(tf.math.softplus(x)),
            tf.maximum(x, 0.0),
            tf.minimum(tf.maximum(x, 0.0), 6.0),
        ),
        1,
    ) + 0.0 * w("unused", 1)


@network(5)
def near_activations(w: Weights, x: Any) -> Any:
    """Functions that nearly are the known ones."""
    return tf.concat(
        (
            x * tf.sigmoid(1.702 * x),
            x * tf.sigmoid(x + 1e-3),
            x * tf.nn.relu6(x + 3.0) / 6.1,
            tf.maximum(x, 1e-7),
            tf.minimum(tf.maximum(x, 0.0), 6.5),
            x * tf.sigmoid(x) + 1e-7,
        ),
        1,
    ) + 0.0 * w("unused", 1)


@network(4, 6)
def layer_norms(w: Weights, x: Any) -> Any:
    """Layer norms with moments, and the one of Keras."""
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    x = tf.nn.batch_normalization(x, mean, variance, w("first/beta", 6), w("first/gamma", 6), 1e-6)
    return x @ w("dense/kernel", 6, 6)


@network(4, 6)
def near_layer_norm(w: Weights, x: Any) -> Any:
    """Moments over another axis than the last."""
    mean, variance = tf.nn.moments(x, 1, keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, w("first/beta", 6), w("first/gamma", 6), 1e-6)


@network(4)
def tied(w: Weights, x: Any) -> Any:
    """One matrix, used as it is and transposed."""
    return tf.matmul(tf.nn.relu(x @ w("matrix", 4, 7)), w("matrix", 4, 7), transpose_b=True)


@network(*IMAGE)
def shared(w: Weights, x: Any) -> Any:
    """One convolution, called twice."""
    for _ in range(2):
        x = tf.nn.relu(tf.nn.conv2d(x, w("conv/kernel", 3, 3, 3, 3), 1, "SAME") + w("conv/bias", 3))
    return x


@network(*IMAGE)
def near_shared(w: Weights, x: Any) -> Any:
    """One kernel in two convolutions with different strides, which no single layer has."""
    x = tf.nn.conv2d(x, w("conv/kernel", 3, 3, 3, 3), 1, "SAME")
    return tf.nn.conv2d(x, w("conv/kernel", 3, 3, 3, 3), 2, "SAME")


@network(200, 1)
def signal(w: Weights, x: Any) -> Any:
    """Long filters of one channel, the second one for every fourth sample."""
    x = tf.nn.conv1d(x, w("low/kernel", 64, 1, 1), 2, "SAME")
    return tf.nn.conv1d(x, w("lower/kernel", 64, 1, 1), 4, "VALID")


@network(200, 1)
def near_signal(w: Weights, x: Any) -> Any:
    """Long filters of one channel, whose lengths are no multiples of their strides, or with two results."""
    x = tf.nn.conv1d(x, w("odd/kernel", 65, 1, 1), 2, "VALID")
    return tf.nn.conv1d(x, w("pair/kernel", 64, 1, 2), 2, "VALID")


@network(*IMAGE)
def near_convolution(w: Weights, x: Any) -> Any:
    """Like a convolution, but its kernel is computed from a parameter."""
    return tf.nn.conv2d(x, w("conv/kernel", 3, 3, 3, 4) * w("conv/scale", 4), 1, "SAME") + w("conv/bias", 4)


@network(*IMAGE)
def near_pools(w: Weights, x: Any) -> Any:
    """Like padded pools, but the zeros around the image count, too."""
    x = tf.pad(tf.nn.conv2d(x, w("conv/kernel", 1, 1, 3, 4), 1, "SAME"), ((0, 0), (1, 1), (1, 1), (0, 0)))
    return tf.concat((tf.nn.max_pool2d(x, 3, 2, "VALID"), tf.nn.avg_pool2d(x, 3, 2, "VALID")), 3)


@network(5)
def near_dense(w: Weights, x: Any) -> Any:
    """Like a layer, but the matrix is computed from a parameter."""
    return x @ tf.nn.relu(w("dense/kernel", 5, 4)) + w("dense/bias", 4)


@network(*IMAGE)
def near_squeeze_and_excitation(w: Weights, x: Any) -> Any:
    """Means over rows and channels, of which there are as many as columns, that scale the channels."""
    x = tf.nn.swish(tf.nn.conv2d(x, w("conv/kernel", 3, 3, 3, 8), 1, "SAME"))
    return x * tf.sigmoid(tf.reshape(tf.reduce_mean(x, (1, 3)), (-1, 1, 1, 8)))


@network(5)
def embedding(w: Weights, x: Any) -> Any:
    """Rows of a table."""
    return tf.gather(w("tokens/embeddings", 7, 3), tf.cast(tf.abs(x), tf.int32) % 7)


@network(5)
def near_embedding(w: Weights, x: Any) -> Any:
    """Rows of a table that is a matrix as well, and columns of another."""
    rows = tf.gather(w("tokens/embeddings", 7, 3), tf.cast(tf.abs(x), tf.int32) % 7)
    columns = tf.gather(w("columns/embeddings", 7, 3), tf.cast(tf.abs(x), tf.int32) % 3, axis=1)
    return tf.matmul(rows, w("tokens/embeddings", 7, 3), transpose_b=True) + tf.transpose(columns, (1, 2, 0))


@network(*IMAGE)
def prelu(w: Weights, x: Any) -> Any:
    """A leaky ReLU with learned slopes, as Keras writes it and as others do: for each channel, and for all."""
    x = tf.nn.conv2d(x, w("conv/kernel", 1, 1, 3, 4), 1, "SAME")
    x = tf.nn.relu(x) - w("first/alpha", 1, 1, 4) * tf.nn.relu(-x)
    x = tf.nn.conv2d(x, w("second/kernel", 1, 1, 4, 4), 1, "SAME")
    return tf.where(x > 0.0, x, x * w("all/alpha", 1))


@network(*IMAGE)
def near_prelu(w: Weights, x: Any) -> Any:
    """Slopes for each place, and a slope that is subtracted on the other side."""
    x = tf.nn.relu(x) - w("first/alpha", 8, 8, 3) * tf.nn.relu(-x)
    return tf.nn.relu(x) + w("second/alpha", 3) * tf.nn.relu(-x)


@network(5)
def dropout(w: Weights, x: Any) -> Any:
    """Dropout between two layers; the recorded values are those without it."""
    x = tf.nn.relu(x @ w("first/kernel", 5, 8) + w("first/bias", 8))
    if not tf.executing_eagerly():
        x = tf.nn.dropout(x, 0.25)
    return x @ w("second/kernel", 8, 3) + w("second/bias", 3)


def keras(build: Callable[[], Any]) -> Network:
    """A layer of Keras with random weights."""
    layers: list[Any] = []

    def call(w: Weights, x: Any) -> Any:
        with tf.init_scope():
            if not layers:
                layers.append(build())
                layers[0].build((None, *SEQUENCE))
                for number, variable in enumerate(layers[0].weights):
                    variable.assign(w(f"value_{number}", *variable.shape))
        return layers[0](x)

    return call


K = tf_keras.layers
NETWORKS |= {
    name: ((None, *SEQUENCE), keras(build))
    for name, build in {
        "lstm": lambda: K.LSTM(4, return_sequences=True, name="encoder"),
        "lstm_without_bias": lambda: K.LSTM(4, use_bias=False, name="encoder"),
        "lstm_of_both_directions": lambda: K.Bidirectional(K.LSTM(4, return_sequences=True, name="encoder")),
        "gru": lambda: K.GRU(4, name="encoder"),
        "near_lstm": lambda: K.LSTM(4, recurrent_activation="hard_sigmoid", name="encoder"),
        "near_gru": lambda: K.GRU(4, reset_after=False, name="encoder"),
    }.items()
}


def tower(*cells: Any) -> Any:
    """Return cells on each other."""
    return v1.nn.rnn_cell.MultiRNNCell(cells)


cell = v1.nn.rnn_cell
SESSIONS: dict[str, Callable[[Any], Any]] = {
    "old_lstm": lambda x: run_cell(cell.BasicLSTMCell(4, name="encoder"), x),
    "stacked_lstm": lambda x: v1.nn.dynamic_rnn(tower(cell.LSTMCell(4), cell.LSTMCell(4)), x, dtype=tf.float32)[0],
    "near_lstm_with_peepholes": lambda x: run_cell(cell.LSTMCell(4, use_peepholes=True, name="encoder"), x),
}


def run_cell(cell: Any, x: Any) -> Any:
    """Return the outputs of a cell, with its last state."""
    outputs, (state, output) = v1.nn.dynamic_rnn(cell, x, dtype=tf.float32)
    return tf.concat((outputs, tf.stack((state, output), 1)), 1)


def make_input(shape: Sequence[int | None]) -> Any:
    """Return random numbers for a batch of two."""
    sizes = [2, *(11 if size is None else size for size in shape[1:])]
    return np.random.default_rng(1).normal(0, 2, sizes).astype(np.float32)


def record(name: str) -> dict[str, Any]:
    """Return the arrays of one network."""
    shape, function = NETWORKS[name]
    weights = Weights(len(name))

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="inputs")])
    def call(x: Any) -> Any:
        return tf.identity(function(weights, x), name="y")

    concrete = call.get_concrete_function()
    graph = convert_variables_to_constants_v2(concrete).graph.as_graph_def()
    x = make_input(shape)
    y = function(weights, tf.constant(x)) if name == "dropout" else call(tf.constant(x))
    return {f"{name}/graph": to_array(graph), f"{name}/x": x, f"{name}/y": y.numpy()}


def record_session(name: str) -> dict[str, Any]:
    """Return the arrays of one network of TensorFlow 1."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, *SEQUENCE), name="inputs")
        y = tf.identity(SESSIONS[name](x), name="y")
        generator = np.random.default_rng(len(name))
        for variable in v1.global_variables():
            variable.load(generator.normal(0, 0.5, variable.shape).astype(np.float32), session)
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["y"])
        value = make_input((None, *SEQUENCE))
        return {f"{name}/graph": to_array(frozen), f"{name}/x": value, f"{name}/y": session.run(y, {x: value})}


def to_array(graph: Any) -> Any:
    """Return a GraphDef as bytes."""
    return np.frombuffer(graph.SerializeToString(deterministic=True), np.uint8)


if __name__ == "__main__":
    # On some processors the fusion of a grouped convolution with its bias fails.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    TARGET.parent.mkdir(exist_ok=True)
    arrays: dict[str, Any] = {}
    for name in NETWORKS:
        arrays |= record(name)
    for name in SESSIONS:
        arrays |= record_session(name)
    np.savez_compressed(TARGET, **arrays)
