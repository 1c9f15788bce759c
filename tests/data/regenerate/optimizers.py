"""The state that optimizers of every generation leave beside a model's variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from regenerate.objects import GRAPH_KEY, object_based
from regenerate.recording import Record, checkpoint, listing, restore, restored, write_expected

SHAPES = {"kernel": (3, 2), "bias": (2,)}


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Values that no optimizer has by itself."""
    generator = np.random.default_rng(12)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def module() -> tf.Module:
    """A layer of plain variables, inside another module."""
    model = tf.Module(name="model")
    model.dense = tf.Module(name="dense")
    for name, value in arrays().items():
        setattr(model.dense, name, tf.Variable(value, name=name))
    return model


def keras3_model() -> Any:
    """The same layer in Keras 3: the shortest path to its variables leads through the optimizer."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    model.set_weights(list(arrays().values()))
    return model


def trained(prefix: str, model: Any, optimizer: Any) -> str:
    """Save a model with its optimizer after one step, and with the values it had before, which tell its keys."""
    variables = model.trainable_variables
    before = [variable.numpy() for variable in variables]
    optimizer.apply_gradients([(tf.ones(tuple(variable.shape)), variable) for variable in variables])
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    return tf.train.Checkpoint(model=model, optimizer=optimizer).write(f"{prefix}/ckpt")


def keras2_legacy() -> list[str]:
    """Optimizers of Keras up to 2.10: slot variables, and hyperparameters by name."""
    legacy = tf_keras.optimizers.legacy
    schedule = tf_keras.optimizers.schedules.ExponentialDecay(0.125, 10, 0.5)
    scaled = tf_keras.mixed_precision.LossScaleOptimizer(legacy.SGD(0.125))
    return [
        trained("legacy-sgd", module(), legacy.SGD(0.125)),
        trained("legacy-sgd-schedule", module(), legacy.SGD(schedule)),
        trained("legacy-momentum", module(), legacy.SGD(0.125, momentum=0.5)),
        trained("legacy-adam", module(), legacy.Adam(0.125)),
        trained("legacy-loss-scale", module(), scaled),
    ]


def keras2() -> list[str]:
    """Optimizers of Keras 2.11 and later: lists of variables."""
    optimizers = tf_keras.optimizers
    schedule = optimizers.schedules.ExponentialDecay(0.125, 10, 0.5)
    return [
        trained("keras2-adam", module(), optimizers.Adam(0.125)),
        trained("keras2-sgd-schedule", module(), optimizers.SGD(schedule, use_ema=True)),
    ]


def keras3() -> list[str]:
    """Optimizers of Keras 3: lists of variables, the model's among them."""
    optimizers = keras.optimizers
    return [
        trained("keras3-adam", keras3_model(), optimizers.Adam(0.125)),
        trained("keras3-sgd", keras3_model(), optimizers.SGD(0.125)),
        trained("keras3-loss-scale", keras3_model(), optimizers.LossScaleOptimizer(optimizers.Adam(0.125))),
    ]


def keras3_alone() -> list[str]:
    """An optimizer of Keras 3 without its model: the model's variables are saved as what it trains."""
    model, optimizer = keras3_model(), keras.optimizers.Adam(0.125)
    optimizer.build(model.trainable_variables)
    return [tf.train.Checkpoint(optimizer=optimizer).write("keras3-alone/ckpt")]


def tf1_objects() -> list[str]:
    """An optimizer of TensorFlow 1 in an object graph: slot variables."""
    model, optimizer = module(), tf.compat.v1.train.AdamOptimizer(0.125)
    return [trained("tf1-objects", model, optimizer)]


def tf1_names() -> str:
    """Every optimizer of tf.compat.v1.train, each with variables of its own: slots by name."""
    train = tf.compat.v1.train
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        step = train.create_global_step()
        optimizers = {
            "adadelta": train.AdadeltaOptimizer(0.125),
            "adagrad": train.AdagradOptimizer(0.125),
            "adagrad_da": train.AdagradDAOptimizer(0.125, step),
            "adam": train.AdamOptimizer(0.125),
            "ftrl": train.FtrlOptimizer(0.125),
            "momentum": train.MomentumOptimizer(0.125, 0.5),
            "proximal_adagrad": train.ProximalAdagradOptimizer(0.125),
            "rmsprop": train.RMSPropOptimizer(0.125, centered=True),
            "sgd": train.GradientDescentOptimizer(0.125),
        }
        for scope, optimizer in optimizers.items():
            with tf.compat.v1.variable_scope(scope):
                variables = [tf.compat.v1.get_variable(name, initializer=value) for name, value in arrays().items()]
            optimizer.apply_gradients([(tf.ones_like(variable), variable) for variable in variables], step)
        session.run(tf.compat.v1.global_variables_initializer())
        prefix = train.Saver().save(session, "tf1-names/model.ckpt", 1, write_meta_graph=False)
    Path("tf1-names/checkpoint").unlink()
    return prefix


def with_model(described: Record, what: str | None) -> Record:
    """Add the keys of the model's variables, which are known by their values."""
    values = list(arrays().values())
    prefix = described["prefix"]
    keys = [
        name
        for name, dtype, shape in listing(prefix)
        if name != GRAPH_KEY
        and any(tuple(shape) == value.shape and np.array_equal(restore(prefix, name, dtype), value) for value in values)
    ]
    return {"what": what, "model": keys} | described


def make_optimizers() -> None:
    """One checkpoint for every optimizer that keeps its state in another way."""
    records = [
        with_model(object_based(prefix), make.__doc__)
        for make in (keras2_legacy, keras2, keras3, keras3_alone, tf1_objects)
        for prefix in make()
    ]
    prefix = tf1_names()
    records.append(with_model(checkpoint(prefix, restored(prefix)), tf1_names.__doc__))
    write_expected(records)
