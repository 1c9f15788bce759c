"""A graph in which variables are written and read in every order, and what a session gives for each fetch."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from regenerate.recording import checkpoint, restored, write_expected

v1 = tf.compat.v1


def make_graph_writes() -> None:
    """Variables of TF1 and resource variables; every fetch is run twice after the variables are restored."""
    v1.disable_control_flow_v2()  # Switch and Merge in the main graph, If and While in functions
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x = v1.placeholder(tf.float32, [], name="x")
        training = v1.placeholder_with_default(False, [], name="training")
        for name, is_resource in (("ref", False), ("resource", True)):
            with v1.variable_scope(name):
                _orders(v1.get_variable("v", initializer=1.0, use_resource=is_resource), x, training)
        _functions(v1.get_variable("f/v", initializer=1.0, use_resource=True), x)
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver()
        saver.save(session, "model.ckpt", write_state=False)
        fetches, again = {}, {}
        for node in graph.get_operations():
            if node.name.endswith(("_before", "_after")):
                saver.restore(session, "model.ckpt")
                for values in (fetches, again):
                    values[node.name] = float(session.run(node.outputs[0], {x: 2.0}))
    write_expected([checkpoint("model.ckpt", restored("model.ckpt"))], fetches=fetches, again=again)


def _orders(v: Any, x: tf.Tensor, training: tf.Tensor) -> None:
    """Add fetches: `_after` reads what a control dependency wrote, `_before` what the checkpoint has."""
    other = v1.get_variable("other", initializer=5.0, use_resource=v.dtype == tf.float32 and "ref" not in v.op.name)
    read = v.value()
    with tf.control_dependencies([v1.assign(v, 10.0)]):
        tf.add(v.read_value(), x, name="assign_after")
    with tf.control_dependencies([tf.group(v1.assign_add(v, x), other.initializer)]):
        again = v.read_value()
        tf.multiply(again, x, name="group_after")
        tf.add(x, 1.0, name="unread_before")
    with tf.control_dependencies([v1.assign(other, 7.0)]):
        tf.add(v.read_value(), x, name="other_before")
    loss = tf.square(read * x)
    with tf.control_dependencies([v1.assign_sub(v, 0.1 * loss)]):
        tf.identity(loss, name="loss_before")
        tf.multiply(v.read_value(), x, name="step_after")
    with tf.control_dependencies(
        [v1.train.MomentumOptimizer(0.1, 0.9).minimize(tf.square(v.read_value()), var_list=[v])]
    ):
        tf.identity(v.read_value(), name="optimizer_after")

    def changed() -> tf.Tensor:
        with tf.control_dependencies([v1.assign(v, 20.0)]):
            return v.read_value() + x

    tf.identity(v1.cond(training, changed, lambda: x * 3.0), name="cond_before")
    tf.identity(v1.cond(tf.logical_not(training), changed, lambda: x * 3.0), name="cond_after")
    if "ref" in v.op.name:
        with tf.control_dependencies([v1.assign(v, 10.0)]):
            tf.add(read, x, name="shared_memory_after")


def _functions(v: Any, x: tf.Tensor) -> None:
    """Add fetches through functions, branches and loops of TF2."""

    @tf.function
    def inside(x: tf.Tensor) -> tf.Tensor:
        v.assign_add(x)
        return v * 2.0

    @tf.function
    def write(x: tf.Tensor) -> tf.Tensor:
        v.assign(x)
        return x

    @tf.function
    def called(x: tf.Tensor) -> tf.Tensor:
        write(x + 5.0)
        return v * 2.0

    @tf.function
    def outer(x: tf.Tensor) -> tf.Tensor:
        y = v * 2.0
        v.assign(x)
        return y

    @tf.function
    def chosen(x: tf.Tensor) -> tf.Tensor:
        if x > 1.0:
            v.assign(x)
        return v + 1.0

    @tf.function
    def loop(x: tf.Tensor) -> tf.Tensor:
        total = x
        for _ in tf.range(3):
            v.assign_add(1.0)
            total += v
        return total

    @tf.function
    def late(x: tf.Tensor) -> tf.Tensor:
        total = x
        for _ in tf.range(3):
            total += v
            v.assign_add(1.0)
        return total

    for function in (inside, called, chosen, loop, late):
        tf.identity(function(x), name=f"f/{function.python_function.__name__}_after")
    tf.identity(outer(x), name="f/outer_before")
