"""The functions of TensorFlow 1 on the default graph: collections, variables, placeholders and initializers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .. import protos
from ..graphs.graph import decode_graph
from ..graphs.meta_graph import MetaGraph
from ..train.errors import as_tensorflow
from . import arrays, state
from .savers import add_meta
from .sessions import Session
from .symbols import GLOBAL, TRAINABLE, Action, Graph, Operation, Placeholder, Rearranged, SymbolicTensor, default_graph
from .variables import LOCAL, Variable


class GraphKeys:
    """The names of the standard collections."""

    GLOBAL_VARIABLES, LOCAL_VARIABLES, TRAINABLE_VARIABLES = GLOBAL, LOCAL, TRAINABLE
    MODEL_VARIABLES, MOVING_AVERAGE_VARIABLES = "model_variables", "moving_average_variables"
    METRIC_VARIABLES, SAVEABLE_OBJECTS, SAVERS = "metric_variables", "saveable_objects", "savers"
    GLOBAL_STEP, LOSSES, REGULARIZATION_LOSSES = "global_step", "losses", "regularization_losses"
    UPDATE_OPS, TRAIN_OP, INIT_OP, SUMMARIES = "update_ops", "train_op", "init_op", "summaries"
    ASSET_FILEPATHS, TABLE_INITIALIZERS = "asset_filepaths", "table_initializer"
    READY_OP, LOCAL_INIT_OP, SUMMARY_OP, QUEUE_RUNNERS = "ready_op", "local_init_op", "summary_op", "queue_runners"
    WEIGHTS, BIASES, ACTIVATIONS, COND_CONTEXT, WHILE_CONTEXT = (
        "weights", "biases", "activations", "cond_context", "while_context",
    )  # fmt: skip


def lift(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function on values that also takes tensors of a graph, and then returns one of the graph."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        graph = next(_graphs_of([*args, *kwargs.values()]), None)
        return function(*args, **kwargs) if graph is None else Rearranged(graph, function, args, kwargs)

    return call


def _graphs_of(arguments: Any) -> Any:
    for argument in arguments:
        if isinstance(argument, list | tuple):
            yield from _graphs_of(argument)
        elif isinstance(argument, SymbolicTensor) and getattr(argument, "_value", None) is None:
            yield argument.graph


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """Return a collection of the default graph; `scope` is a regular expression for the beginning of names."""
    return default_graph().get_collection(key, scope)


def get_collection_ref(key: str) -> list[Any]:
    """Return a collection of the default graph itself."""
    return default_graph().get_collection_ref(key)


def add_to_collection(name: str, value: Any) -> None:
    """Add a value to a collection of the default graph."""
    default_graph().add_to_collection(name, value)


def global_variables(scope: str | None = None) -> list[Any]:
    """Return all variables of the default graph that its savers save."""
    return get_collection(GLOBAL, scope)


def trainable_variables(scope: str | None = None) -> list[Any]:
    """Return the variables of the default graph that are trained."""
    return get_collection(TRAINABLE, scope)


def local_variables(scope: str | None = None) -> list[Any]:
    """Return the variables of the default graph that are not saved."""
    return get_collection(LOCAL, scope)


def model_variables(scope: str | None = None) -> list[Any]:
    """Return the variables of the default graph that its model lists."""
    return get_collection(GraphKeys.MODEL_VARIABLES, scope)


def variables_initializer(var_list: Any, name: str = "init") -> Operation:
    """Return an operation that gives variables their initial values.

    Those of an imported graph are random or computed, so such a variable has no value until it is restored.
    """
    variables = list(var_list)
    return Action(default_graph(), name, lambda session, _: session.initialize(variables))


def global_variables_initializer() -> Operation:
    """Return an operation that gives all global variables their initial values."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """Return an operation that gives all local variables their initial values."""
    return variables_initializer(local_variables())


def no_op(name: str = "no_op") -> Operation:
    """Return an operation that does nothing."""
    return Action(default_graph(), name, lambda session, _: None)


def tables_initializer(name: str = "init_all_tables") -> Operation:
    """Return an operation that does nothing, because tables are not restored."""
    return no_op(name)


def group(*inputs: Any, name: str = "group", **unused: object) -> Operation:
    """Return an operation that runs others in their order."""
    items = [item for given in inputs for item in (given if isinstance(given, list | tuple) else [given])]

    def run_all(session: Session, feeds: Any) -> None:
        for item in items:
            session.run(item, feeds)

    return Action(default_graph(), name, run_all)


def placeholder(dtype: Any, shape: Any = None, name: str = "Placeholder") -> Placeholder:
    """Return a tensor whose value is passed to `Session.run`."""
    return Placeholder(default_graph(), name or "Placeholder", dtype, shape)


def get_default_session() -> Session | None:
    """Return the session of the innermost block, or None."""
    sessions = state.current().sessions
    return sessions[-1] if sessions else None


def name_scope(name: str | None = None, default_name: str | None = None, values: object = None) -> Any:
    """Put a scope before the names of what is created in the block."""
    return default_graph().name_scope(name or default_name)


def import_graph_def(
    graph_def: Any, input_map: Any = None, return_elements: Any = None, name: str | None = None, **unused: object
) -> Any:
    """Add the graph of a GraphDef message to the default graph, under the scope `import` or that of `name`."""
    if input_map:
        raise ValueError("input_map is not supported: the imported graph cannot be connected to other tensors")
    message = protos.message_class("MetaGraphDef")()
    message.graph_def.ParseFromString(graph_def.SerializeToString())
    graph = default_graph()
    with as_tensorflow():
        meta = MetaGraph(decode_graph(message.graph_def), (), "", {}, {})
    imported = add_meta(graph, meta, message, "a GraphDef", "import" if name is None else name)
    if return_elements is None:
        return None
    return [graph.as_graph_element(imported.prefix + element) for element in return_elements]


VALUES: dict[str, Any] = {
    function.__name__: lift(function)
    for function in (
        arrays.cast, arrays.concat, arrays.constant, arrays.convert_to_tensor, arrays.expand_dims, arrays.identity,
        arrays.ones, arrays.reshape, arrays.squeeze, arrays.stack, arrays.transpose, arrays.zeros, arrays.zeros_like,
    )
}  # fmt: skip


def get_default_graph() -> Graph:
    """Return the default graph."""
    return default_graph()


def is_variable_initialized(variable: Variable) -> Any:
    """Return an operation whose value is whether a session has a value of a variable."""
    return Action(default_graph(), "IsInitialized", lambda session, _: session.is_initialized(variable))
