"""Graphs: of an imported meta graph, and of what a program creates itself, which are variables and placeholders.

Nothing here has a value; a session has them (`sessions`).
A tensor is named after its operation, `scope/kernel:0`; a resource variable's operation gives a handle, which only the
variable itself can read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..graphs.graph import Node
from ..graphs.meta_graph import MetaGraph
from ..train.dtypes import DType, as_dtype
from . import state
from .errors import NotComputedError
from .shapes import TensorShape, from_stored

GLOBAL, TRAINABLE = "variables", "trainable_variables"
#: The attribute with the type of an operation's first output, for those operations whose outputs are never computed.
_TYPE_ATTRIBUTES = {
    **dict.fromkeys(("Placeholder", "Const", "Variable", "VariableV2", "ReadVariableOp"), "dtype"),
    "Identity": "T",
    "PlaceholderWithDefault": "dtype",
}


class Imported(NamedTuple):
    """A meta graph that was imported, its message and file, and the prefix of its names: empty, or with a slash."""

    meta: MetaGraph
    message: Any
    path: str
    prefix: str


class Operation:
    """An operation of a graph."""

    is_symbolic = True

    def __init__(self, graph: Graph, name: str, kind: str, node: Node | None = None) -> None:
        self.graph = graph
        self.name = name
        self.type = kind
        self.node = node

    def __repr__(self) -> str:
        return f"<tf.Operation {self.name!r} type={self.type}>"

    def run(self, feed_dict: Mapping[Any, Any] | None = None, session: Any = None) -> None:
        """Run the operation in a session, by default the default one."""
        _session_for(session).run(self, feed_dict)


class SymbolicTensor:
    """A tensor of a graph; `Session.run` returns its value."""

    is_symbolic = True

    def __init__(self, op: Operation, index: int = 0) -> None:
        self.op = op
        self.value_index = index

    @property
    def graph(self) -> Graph:
        """The graph."""
        return self.op.graph

    @property
    def name(self) -> str:
        """The name, such as `scope/kernel:0`."""
        return f"{self.op.name}:{self.value_index}"

    @property
    def dtype(self) -> DType:
        """The data type; `NotComputedError` if only running the graph would tell."""
        attribute = _TYPE_ATTRIBUTES.get(self.op.type, "")
        node = self.op.node
        if node is None or attribute not in node.attributes:
            raise NotComputedError(f"the data type of {self.name}")
        try:
            return as_dtype(node.attributes[attribute])
        except TypeError:  # a number that no release of TensorFlow has used
            raise NotComputedError(f"the data type of {self.name}") from None

    @property
    def shape(self) -> TensorShape:
        """The shape as far as the graph stores it."""
        node = self.op.node
        if node is None:
            return TensorShape(None)
        shapes: Any = node.attributes.get("_output_shapes", ())
        if isinstance(shapes, tuple) and self.value_index < len(shapes):
            return from_stored(shapes[self.value_index])
        if self.op.type in ("Placeholder", "Variable", "VariableV2") and "shape" in node.attributes:
            stored: Any = node.attributes["shape"]
            return from_stored(stored)
        return TensorShape(None)

    def get_shape(self) -> TensorShape:
        """Return the shape."""
        return self.shape

    def eval(self, feed_dict: Mapping[Any, Any] | None = None, session: Any = None) -> Any:
        """Return the value in a session, by default the default one."""
        return _session_for(session).run(self, feed_dict)

    def __repr__(self) -> str:
        try:
            kind = self.dtype.name
        except NotComputedError:
            kind = "unknown"
        return f"<tf.Tensor {self.name!r} shape={self.shape} dtype={kind}>"

    def __bool__(self) -> bool:
        raise TypeError("Using a symbolic `tf.Tensor` as a Python `bool` is not allowed.")

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("Iterating over a symbolic `tf.Tensor` is not allowed.")


class Placeholder(SymbolicTensor):
    """A tensor whose value is passed to `Session.run`."""

    def __init__(self, graph: Graph, name: str, dtype: Any, shape: Any) -> None:
        super().__init__(graph.add(name, "Placeholder"))
        graph.placeholders[self.name] = self
        self._dtype, self._shape = as_dtype(dtype), TensorShape(shape)

    @property
    def dtype(self) -> DType:
        """The data type."""
        return self._dtype

    @property
    def shape(self) -> TensorShape:
        """The shape."""
        return self._shape


class Rearranged(SymbolicTensor):
    """The result of a function of `arrays` whose arguments have no values yet."""

    def __init__(self, graph: Graph, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]):
        super().__init__(graph.add(function.__name__.capitalize(), function.__name__.capitalize()))
        self.function, self.args, self.kwargs = function, args, kwargs


class Action(Operation):
    """An operation that changes variables of a session; `targets` are the variables that it initializes."""

    def __init__(self, graph: Graph, name: str, act: Callable[[Any, Mapping[Any, Any]], Any]) -> None:
        operation = graph.add(name, "NoOp")
        super().__init__(graph, operation.name, "NoOp")
        self.act = act


class Graph:
    """The operations, variables and collections of a program."""

    def __init__(self) -> None:
        self.imported: list[Imported] = []
        self.own: dict[str, Operation] = {}
        self.placeholders: dict[str, Placeholder] = {}
        self.variables: dict[str, Any] = {}
        self._collections: dict[str, list[Any]] = {}
        self._scopes: list[str] = []
        self.seed = None

    def as_default(self) -> contextlib.AbstractContextManager[Graph]:
        """Make this the default graph until the end of the block."""
        return _pushed(state.current().graphs, self)

    def add(self, name: str, kind: str) -> Operation:
        """Add an operation under a name that becomes unique within the scopes of the program."""
        operation = Operation(self, self.unique_name(name), kind)
        self.own[operation.name] = operation
        return operation

    def unique_name(self, name: str) -> str:
        """Return a name in the current scope, with a number if it is in use."""
        scoped = "/".join([*self._scopes, name])
        unique, number = scoped, 0
        while self.has_operation(unique):
            number += 1
            unique = f"{scoped}_{number}"
        return unique

    @contextlib.contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Put a scope before the names of what is created in the block; an empty name leaves all scopes."""
        before = list(self._scopes)
        self._scopes = [*before, name.rstrip("/")] if name else []
        try:
            yield "/".join([*self._scopes, ""]) if self._scopes else ""
        finally:
            self._scopes = before

    def get_operation_by_name(self, name: str) -> Operation:
        """Return an operation; `KeyError` if there is none of this name."""
        if name in self.own:
            return self.own[name]
        node = self._find_node(name)
        if node is None:
            raise KeyError(f"The name {name!r} refers to an Operation not in the graph.")
        return Operation(self, name, node.op, node)

    def get_tensor_by_name(self, name: str) -> SymbolicTensor:
        """Return a tensor by its name, `operation:0`; `KeyError` if there is no such operation."""
        operation_name, colon, index = name.partition(":")
        if not colon or not index.isdecimal():
            raise ValueError(
                f"The name {name!r} looks like an (invalid) Operation name, not a Tensor. Tensor names must be of the "
                'form "<op_name>:<output_index>".'
            )
        try:
            operation = self.get_operation_by_name(operation_name)
        except KeyError:
            raise KeyError(
                f"The name {name!r} refers to a Tensor which does not exist. The operation, {operation_name!r}, does "
                "not exist in the graph."
            ) from None
        fed = self.placeholders.get(name)
        return SymbolicTensor(operation, int(index)) if fed is None else fed

    def get_operations(self) -> list[Operation]:
        """Return the operations, those of imported graphs in stored order."""
        nodes = [
            Operation(self, item.prefix + node.name, node.op, node)
            for item in self.imported
            for node in item.meta.graph
        ]
        return [*nodes, *self.own.values()]

    def as_graph_element(self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Any:
        """Return the tensor or operation of a name, a variable, or of itself."""
        if isinstance(obj, str):
            return self.get_tensor_by_name(obj) if ":" in obj else self.get_operation_by_name(obj)
        return obj

    def as_graph_def(self, from_version: object = None, add_shapes: bool = False) -> Any:
        """Return the message of the only imported graph."""
        if len(self.imported) != 1 or self.imported[0].prefix or self.own:
            raise NotComputedError("the message of a graph that is not a single imported one")
        return self.imported[0].message.graph_def

    def get_collection(self, name: str, scope: str | None = None) -> list[Any]:
        """Return a copy of a collection; `scope` is a regular expression that the beginning of a name matches."""
        items = self._collections.get(name, [])
        if scope is None:
            return list(items)
        expression = re.compile(scope)
        return [item for item in items if expression.match(getattr(item, "name", ""))]

    def get_collection_ref(self, name: str) -> list[Any]:
        """Return a collection itself."""
        return self._collections.setdefault(name, [])

    def get_all_collection_keys(self) -> list[str]:
        """Return the names of the collections that are not empty."""
        return [name for name, items in self._collections.items() if items]

    def add_to_collection(self, name: str, value: Any) -> None:
        """Add a value to a collection."""
        self.get_collection_ref(name).append(value)

    def finalize(self) -> None:
        """Do nothing."""

    def device(self, device_name_or_function: object) -> contextlib.AbstractContextManager[None]:
        """Return a block without effect."""
        return contextlib.nullcontext()

    def control_dependencies(self, control_inputs: object) -> contextlib.AbstractContextManager[None]:
        """Return a block without effect, because nothing that is created in it depends on an order."""
        return contextlib.nullcontext()

    def locate(self, name: str) -> tuple[Imported, Node] | None:
        """Return the node of an operation's name and the import that it belongs to, or None."""
        for item in self.imported:
            own = name.removeprefix(item.prefix)
            if name.startswith(item.prefix) and own in item.meta.graph:
                return item, item.meta.graph[own]
        return None

    def has_operation(self, name: str) -> bool:
        """Return whether there is an operation of this name."""
        return name in self.own or self._find_node(name) is not None

    def _find_node(self, name: str) -> Node | None:
        located = self.locate(name)
        return None if located is None else located[1]

    def __repr__(self) -> str:
        return f"<Graph of the stand-in, {len(self.own)} operations and {len(self.imported)} imported graphs>"


def default_graph() -> Graph:
    """Return the graph of the innermost block, or that of the whole program."""
    current = state.current()
    if not current.graphs and current.bottom is None:
        current.bottom = Graph()
    graph: Graph = current.graphs[-1] if current.graphs else current.bottom
    return graph


def reset_default_graph() -> None:
    """Forget the graph of the whole program; a graph of an enclosing block is replaced by an empty one."""
    current = state.current()
    if current.graphs:
        raise AssertionError("Do not use tf.reset_default_graph() to clear nested graphs.")
    current.bottom = Graph()


@contextlib.contextmanager
def _pushed(stack: list[Any], item: Any) -> Iterator[Any]:
    stack.append(item)
    try:
        yield item
    finally:
        stack.remove(item)


def _session_for(session: Any) -> Any:
    sessions = state.current().sessions
    if session is None and not sessions:
        raise ValueError(
            "Cannot evaluate a tensor without a session: no default session is registered and no session was passed."
        )
    return sessions[-1] if session is None else session
