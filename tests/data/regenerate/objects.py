"""Object-based checkpoints: small graphs of the kinds TensorFlow programs leave behind."""

from __future__ import annotations

import json
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf import trackable_object_graph_pb2
from tensorflow.python.checkpoint import checkpoint_management
from tensorflow.python.distribute import sharded_variable

from regenerate.recording import Record, checkpoint, listing, record, restore, restored, write_expected

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"


def network() -> tf.Module:
    """A tiny network of modules, with a list and a name scope."""
    generator = np.random.default_rng(20)
    model = tf.Module(name="net")
    model.layers = []
    for number, (inputs, outputs) in enumerate([(3, 4), (4, 2)]):
        layer = tf.Module(name=f"layer_{number}")
        layer.kernel = tf.Variable(
            generator.normal(size=(inputs, outputs)).astype(np.float32), name=f"layer_{number}/kernel"
        )
        layer.bias = tf.Variable(np.zeros(outputs, np.float32), name=f"layer_{number}/bias")
        model.layers.append(layer)
    return model


def train(model: tf.Module, optimizer: Any, steps: int) -> None:
    """Some optimizer steps with made-up gradients, so that slots exist and hold numbers."""
    variables = [layer_variable for layer in model.layers for layer_variable in (layer.kernel, layer.bias)]
    for step in range(steps):
        optimizer.apply_gradients([(variable * 0.5 + step + 1.0, variable) for variable in variables])


def legacy_optimizer() -> str:
    """Legacy Keras Adam with slot variables, saved with `save`: numbered, with a save counter."""
    model, optimizer = network(), tf_keras.optimizers.legacy.Adam(0.125)
    train(model, optimizer, 2)
    step = tf.Variable(2, dtype=tf.int64, name="step")
    return tf.train.Checkpoint(net=model, optimizer=optimizer, step=step).save("legacy_optimizer/ckpt")


def new_optimizer() -> str:
    """Keras SGD with momentum of the newer kind, saved with `write`: no number and no save counter."""
    model, optimizer = network(), tf_keras.optimizers.SGD(0.125, momentum=0.5)
    train(model, optimizer, 2)
    return tf.train.Checkpoint(net=model, optimizer=optimizer).write("new_optimizer/ckpt")


def shapes_of_graphs() -> str:
    """A node reached by two names, a cycle, lists, dictionaries, tuples, nesting, and a node without variables."""
    root = tf.train.Checkpoint()
    shared = tf.Variable([1.0, 2.0], name="shared")
    root.first = tf.train.Checkpoint(value=shared)
    root.second = root.first
    root.alias = shared
    root.first.back = root
    root.list = [tf.Variable(i, name=f"item_{i}") for i in range(12)]
    root.dictionary = {"b": tf.Variable(1.5), "a": {"nested": [tf.Variable(True)]}}
    root.pair = (tf.Variable(b"text"), tf.Variable(np.arange(3, dtype=np.float64)))
    root.bare = tf.Module()
    return root.write("graph/ckpt")


def escapes() -> str:
    """Attribute names with slashes, dots, spaces, other scripts, and names that look like reserved ones."""
    root = tf.train.Checkpoint()
    names = ["a/b", "a.b", "a.Sb", "a..b", "a.", ".", "/", ".ATTRIBUTES", "with space", "größe", "🐍", "1"]
    inner = tf.train.Checkpoint()
    for number, name in enumerate(names):
        setattr(root, name, tf.train.Checkpoint(**{name: tf.Variable(number, name=f"v{number}")}))
    root.dictionary = {name: tf.Variable(number + 100, name=f"d{number}") for number, name in enumerate(names)}
    root.inner = inner
    return root.write("escapes/ckpt")


def tables() -> str:
    """Mutable hash tables, whose keys and values stand under names no attribute has."""
    words = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, default_value=-1)
    words.insert(["one", "two", "three"], [1, 2, 3])
    dense = tf.lookup.experimental.DenseHashTable(
        tf.int64, tf.float32, default_value=[0.0, 0.0], empty_key=-1, deleted_key=-2, initial_num_buckets=8
    )
    dense.insert([10, 20], [[1.0, 2.0], [3.0, 4.0]])
    return tf.train.Checkpoint(words=words, dense=dense, plain=tf.Variable(1.0)).write("tables/ckpt")


class Position(tf.train.experimental.PythonState):
    """Python state that is saved as a string."""

    def __init__(self) -> None:
        self.state = {"epoch": 3, "seed": "ab"}

    def serialize(self) -> str:
        """The state as JSON."""
        return json.dumps(self.state, sort_keys=True)

    def deserialize(self, string_value: str) -> None:
        """Take the state from JSON."""
        self.state = json.loads(string_value)


def python_state() -> str:
    """Python state, a data set's iterator (a variant tensor), and a random generator's state."""
    iterator = iter(tf.data.Dataset.range(10).map(lambda x: x * 2))
    next(iterator)
    generator = tf.random.Generator.from_seed(7)
    return tf.train.Checkpoint(position=Position(), iterator=iterator, generator=generator).write("python_state/ckpt")


def sharded() -> str:
    """A sharded variable as distributed training makes them: slices under one key."""
    parts = [tf.Variable(np.arange(8, dtype=np.float32).reshape(4, 2) + 8 * i, name=f"part_{i}") for i in range(3)]
    variable = sharded_variable.ShardedVariable(parts, name="embedding")
    return tf.train.Checkpoint(embedding=variable, plain=tf.Variable(3)).write("sharded/ckpt")


def keras_weights() -> str:
    """`save_weights` of a Keras model: `layer-N` and `layer_with_weights-N` name the same nodes."""
    tf_keras.utils.set_random_seed(5)
    model = tf_keras.Sequential(
        [
            tf_keras.layers.Dense(4, input_shape=(3,), name="first"),
            tf_keras.layers.ReLU(),
            tf_keras.layers.BatchNormalization(),
            tf_keras.layers.Dense(2, name="second"),
        ]
    )
    model.save_weights("keras_weights/weights")
    return "keras_weights/weights"


def compiled_keras_weights() -> str:
    """`save_weights` of a compiled Keras model after one step: the optimizer and the metrics are saved with it."""
    tf_keras.utils.set_random_seed(6)
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    model.compile(optimizer="rmsprop", loss="mse", metrics=["mae"])
    model.fit(np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32), verbose=0)
    model.save_weights("compiled/weights")
    return "compiled/weights"


GRAPHS: list[Callable[[], str]] = [
    legacy_optimizer,
    new_optimizer,
    shapes_of_graphs,
    escapes,
    tables,
    python_state,
    sharded,
    keras_weights,
    compiled_keras_weights,
]


def make_objects() -> None:
    """One checkpoint for every kind of object graph."""
    write_expected([object_based(make()) | {"what": make.__doc__} for make in GRAPHS])


def object_based(prefix: str, **more: Any) -> Record:
    """The record of an object-based checkpoint: its tensors, TensorFlow's listing, and its graph as JSON."""
    tensors = []
    for name, dtype, shape in listing(prefix):
        if dtype == "variant":
            tensors.append({"name": name, "dtype": dtype, "shape": shape, "source": "listed"})
        else:
            tensors.append(record(name, dtype, restore(prefix, name, dtype)))
        if name == GRAPH_KEY:
            tensors[-1].pop("values_hex", None)
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(restore(prefix, GRAPH_KEY, "string").item())
    nodes = [MessageToDict(node, preserving_proto_field_name=True) for node in graph.nodes]
    return checkpoint(prefix, tensors, list_variables=tf.train.list_variables(prefix), nodes=nodes, **more)


def make_manager() -> None:
    """A manager that keeps 3 of 5 checkpoints, and a TF1 Saver that writes absolute paths to its state file."""
    times = iter(1_600_000_000.0 + 100.25 * i for i in range(100))
    checkpoint_management.time = types.SimpleNamespace(time=lambda: next(times))
    step = tf.Variable(0, dtype=tf.int64, name="step")
    value = tf.Variable([0.0, 0.0], name="value")
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(step=step, value=value), "relative", max_to_keep=3)
    for number in range(1, 6):
        step.assign(number)
        value.assign([number, -number])
        manager.save()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable("value", initializer=[1.5, 2.5], use_resource=True)
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(max_to_keep=2)
        shutil.rmtree(ABSOLUTE, ignore_errors=True)
        ABSOLUTE.mkdir(parents=True)
        for number in (10, 20, 30):
            saver.save(session, str(ABSOLUTE / "model.ckpt"), global_step=number)
            session.run(variable.assign_add([1.0, 1.0]))
    before = {"absolute": tf.train.latest_checkpoint(ABSOLUTE)}
    shutil.move(ABSOLUTE, "absolute")
    states = {
        folder: {
            "text": Path(folder, "checkpoint").read_text(),
            "latest_checkpoint": tf.train.latest_checkpoint(folder),
            "all_model_checkpoint_paths": list(tf.train.get_checkpoint_state(folder).all_model_checkpoint_paths),
        }
        for folder in ("relative", "absolute")
    }
    checkpoints = [object_based(f"relative/ckpt-{number}") for number in (3, 4, 5)]
    checkpoints += [
        checkpoint(f"absolute/model.ckpt-{number}", restored(f"absolute/model.ckpt-{number}")) for number in (20, 30)
    ]
    write_expected(checkpoints, states=states, latest_checkpoint_before_moving=before)


ABSOLUTE = Path("/tmp/tensorflow-checkpoints/absolute")
"""Where the absolute paths of the state file point; the folder is moved away from there."""
