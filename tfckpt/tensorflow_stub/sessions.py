"""`tf.compat.v1.Session`: the values of variables, and what can be said of a graph without computing.

Variables, constants and what only passes them on are answered here; every other tensor goes to an engine (`engines`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from .._typing import Array
from ..errors import CorruptionError
from ..graphs.graph import Node
from ..train.errors import FailedPreconditionError, InvalidArgumentError, as_tensorflow
from . import state
from .arrays import Tensor
from .engines import Run, find_engine
from .errors import NotComputedError
from .symbols import Action, Graph, Imported, Operation, Placeholder, Rearranged, SymbolicTensor, default_graph
from .variables import Assignment, Variable

#: Operations whose output is their first input.
_PASS_THROUGH = ("Identity", "ReadVariableOp", "Snapshot")
_ASSIGNS = ("Assign", "AssignVariableOp")
_VARIABLES = ("VarHandleOp", "Variable", "VariableV2")
_MOST_LINKS = 100


class Session:
    """The values of a graph's variables."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: object = None) -> None:
        """Open a session for a graph, by default the default one; the other arguments have no effect."""
        self.graph = default_graph() if graph is None else graph
        self.sess_str, self._config = target, config
        self._values: dict[str, Callable[[], Array]] = {}
        self._randomly_initialized: set[str] = set()
        self._engines: dict[int, Run] = {}
        self._is_closed = False

    def run(
        self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None, options: Any = None, run_metadata: Any = None
    ) -> Any:
        """Return the values of tensors, variables and names of tensors, in the structure in which they are passed.

        The value of an operation is None.
        Raises `FailedPreconditionError` for a variable without a value, `NotComputedError` for what cannot be computed,
        and `MissingDependencyError` if that needs an engine that is not installed.
        """
        if self._is_closed:
            raise RuntimeError("Attempted to use a closed Session.")
        feeds = dict(self._feed(key, value) for key, value in (feed_dict or {}).items())
        pending: dict[str, None] = {}
        self._visit(fetches, lambda item: self._collect(item, feeds, pending))
        computed = self._compute(list(pending), feeds) if pending else {}
        return self._visit(fetches, lambda item: self._value(item, {**computed, **feeds}))

    def set_value(self, variable: Variable, value: Array) -> None:
        """Give a variable a value."""
        self.set_lazy_value(variable, lambda: value)

    def set_lazy_value(self, variable: Variable, read: Callable[[], Array]) -> None:
        """Give a variable a value that is read when it is needed."""
        self._values[variable.op.name] = read
        self._randomly_initialized.discard(variable.op.name)
        self._engines.clear()

    def initialize(self, variables: list[Variable]) -> None:
        """Give variables their initial values; those that only running the graph would tell have none afterwards."""
        for variable in variables:
            if variable.initial_value is None:
                self._values.pop(variable.op.name, None)
                self._randomly_initialized.add(variable.op.name)
                self._engines.clear()
            else:
                self.set_value(variable, np.asarray(self._value(variable.initial_value, {})))

    def value_of(self, variable: Variable) -> Array:
        """Return the value of a variable in this session."""
        return self._variable_value(variable.op.name)

    def is_initialized(self, variable: Variable) -> bool:
        """Return whether a variable has a value."""
        return variable.op.name in self._values or variable.op.name in self._randomly_initialized

    def as_default(self) -> Any:
        """Make this the default session until the end of the block."""
        return _Default(self, closes=False)

    def close(self) -> None:
        """Forget the values."""
        self._is_closed = True
        self._values.clear()
        self._engines.clear()

    def list_devices(self) -> list[Any]:
        """Return no devices."""
        return []

    def __enter__(self) -> Session:
        self._block = _Default(self, closes=True)
        return self._block.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block.__exit__(kind, error, trace)

    def _feed(self, key: Any, value: Any) -> tuple[str, Array]:
        """Return the name of a tensor, and the value for it in its type."""
        tensor = self.graph.get_tensor_by_name(key) if isinstance(key, str) else key
        try:
            kind = tensor.dtype.as_numpy_dtype
        except NotComputedError:
            kind = None
        return tensor.name, np.asarray(value, dtype=kind)

    def _visit(self, fetches: Any, function: Callable[[Any], Any]) -> Any:
        """Return the results of a function for each leaf of a structure, in the same structure."""
        if isinstance(fetches, tuple) and hasattr(fetches, "_fields"):
            return type(fetches)(*(self._visit(item, function) for item in fetches))
        if isinstance(fetches, list | tuple):
            return type(fetches)(self._visit(item, function) for item in fetches)
        if isinstance(fetches, Mapping):
            return type(fetches)((key, self._visit(item, function)) for key, item in fetches.items())  # type: ignore[call-arg]
        if fetches is None:
            raise TypeError("Argument `fetch` = None has invalid type NoneType.")
        element = self._find(fetches) if isinstance(fetches, str) else fetches
        if not isinstance(element, Tensor | SymbolicTensor | Operation):
            raise TypeError(f"Fetch argument {fetches!r} has invalid type {type(fetches).__name__}.")
        return function(element)

    def _find(self, name: str) -> Any:
        try:
            return self.graph.as_graph_element(name)
        except KeyError as error:
            raise ValueError(f"Fetch argument {name!r} cannot be interpreted as a Tensor. ({error.args[0]})") from error

    def _collect(self, item: Any, feeds: Mapping[str, Any], pending: dict[str, None]) -> None:
        """Note the tensors that an engine has to compute."""
        if isinstance(item, Rearranged):
            for argument in _arguments(item):
                self._collect(argument, feeds, pending)
        elif isinstance(item, Assignment):
            self._collect(item.assigned, feeds, pending)
        elif isinstance(item, Operation) and not isinstance(item, Action) and item.node is not None:
            if _variables_initialized_by(item) is None:
                raise NotComputedError(f"the operation {item.name}")
        elif isinstance(item, SymbolicTensor) and item.name not in feeds and not self._is_known(item):
            pending[item.name] = None

    def _is_known(self, item: SymbolicTensor) -> bool:
        return isinstance(item, Variable | Placeholder) or self._known(item) is not None

    def _known(self, item: SymbolicTensor) -> Callable[[], Array] | None:
        """Return a function that returns the value of a tensor of an imported graph if nothing has to be computed."""
        located = self.graph.locate(item.op.name)
        if located is None or item.value_index:
            return None
        imported, node = located
        for _ in range(_MOST_LINKS):
            if node.op in _VARIABLES:
                name = imported.prefix + node.name
                return functools.partial(self._variable_value, name)
            if node.op == "Const":
                return functools.partial(_constant, node)
            inputs = [name for name in node.inputs if not name.startswith("^")]
            if node.op not in _PASS_THROUGH or len(inputs) != 1 or len(node.inputs) != 1 or ":" in inputs[0]:
                return None
            source = inputs[0]
            if source not in imported.meta.graph:
                return None
            node = imported.meta.graph[source]
        return None

    def _value(self, item: Any, computed: Mapping[str, Any]) -> Any:
        if isinstance(item, Tensor):
            return item.numpy()
        if isinstance(item, Action):
            return item.act(self, computed)
        if isinstance(item, Operation):
            names = _variables_initialized_by(item) or ()
            self.initialize([self.graph.variables[name] for name in names if name in self.graph.variables])
            return None
        if not isinstance(item, SymbolicTensor):
            return item
        if item.name in computed:
            return _as_result(computed[item.name])
        if isinstance(item, Variable):
            return _as_result(np.array(self.value_of(item)))
        if isinstance(item, Assignment):
            array = item.variable.check(self._value(item.assigned, computed))
            self.set_value(item.variable, array)
            return _as_result(array)
        if isinstance(item, Rearranged):
            return item.function(
                *(self._argument(argument, computed) for argument in item.args),
                **{key: self._argument(argument, computed) for key, argument in item.kwargs.items()},
            ).numpy()
        if isinstance(item, Placeholder):
            raise InvalidArgumentError(
                None,
                None,
                f"You must feed a value for placeholder tensor {item.op.name!r} with dtype {item.dtype.name}",
            )
        known = self._known(item)
        if known is None:
            raise NotComputedError(f"the tensor {item.name}")
        return _as_result(np.array(known()))

    def _argument(self, argument: Any, computed: Mapping[str, Any]) -> Any:
        if isinstance(argument, list | tuple):
            return [self._argument(item, computed) for item in argument]
        return self._value(argument, computed) if isinstance(argument, SymbolicTensor) else argument

    def _variable_value(self, name: str) -> Array:
        if name in self._values:
            return self._values[name]()
        if name in self._randomly_initialized:
            raise NotComputedError(f"the initial value of {name}", advice="restore it from a checkpoint")
        raise FailedPreconditionError(None, None, f"Attempting to use uninitialized value {name}", tensor=name)

    def _compute(self, names: list[str], feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Compute tensors of one imported graph with the engine."""
        located = {name: self.graph.locate(name.rpartition(":")[0]) for name in [*names, *feeds]}
        imports = {id(item[0]): item[0] for item in located.values() if item is not None}
        missing = [name for name in names if located[name] is None]
        if missing:
            raise NotComputedError(f"the tensor {missing[0]}")
        if len(imports) != 1:
            raise NotComputedError("tensors of several imported graphs at once")
        (imported,) = imports.values()
        run = self._engine(imported, names[0])
        prefix = imported.prefix
        values = run(
            [name.removeprefix(prefix) for name in names],
            {name.removeprefix(prefix): value for name, value in feeds.items() if located[name] is not None},
        )
        return dict(zip(names, values, strict=True))

    def _engine(self, imported: Imported, name: str) -> Run:
        if id(imported) not in self._engines:
            engine = find_engine(f"running {name} of an imported graph")
            self._engines[id(imported)] = engine.run_graph(
                imported.meta.graph, imported.path, lambda variable: self._variable_value(imported.prefix + variable)
            )
        return self._engines[id(imported)]


class InteractiveSession(Session):
    """A session that is the default one from its creation until it is closed."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: object = None) -> None:
        super().__init__(target, graph, config)
        state.current().sessions.append(self)

    def close(self) -> None:
        """Forget the values, and stop being the default session."""
        if self in state.current().sessions:
            state.current().sessions.remove(self)
        super().close()


class _Default:
    """A block in which a session and its graph are the default ones."""

    def __init__(self, session: Session, *, closes: bool) -> None:
        self._session = session
        self._closes = closes

    def __enter__(self) -> Session:
        state.current().sessions.append(self._session)
        self._graph = self._session.graph.as_default()
        self._graph.__enter__()
        return self._session

    def __exit__(self, *error: Any) -> None:
        self._graph.__exit__(*error)
        state.current().sessions.remove(self._session)
        if self._closes:
            self._session.close()


def _arguments(item: Rearranged) -> list[Any]:
    """Return the symbols among the arguments of a function, also in lists."""
    found: list[Any] = []
    pending = [*item.args, *item.kwargs.values()]
    while pending:
        argument = pending.pop(0)
        if isinstance(argument, list | tuple):
            pending = [*argument, *pending]
        elif isinstance(argument, SymbolicTensor):
            found.append(argument)
    return found


def _variables_initialized_by(operation: Operation) -> list[str] | None:
    """Return the names of the variables that an operation of an imported graph initializes; None if it does more."""
    located = operation.graph.locate(operation.name)
    if located is None or operation.type not in ("NoOp", *_ASSIGNS):
        return None
    imported, node = located
    names = []
    pending, seen = [node], set()
    while pending:
        node = pending.pop()
        if node.op in _ASSIGNS and node.inputs:
            names.append(imported.prefix + node.inputs[0].partition(":")[0])
            continue
        if node.op != "NoOp":
            return None
        for name in node.inputs:
            source = name.removeprefix("^")
            if source not in seen and source in imported.meta.graph:
                seen.add(source)
                pending.append(imported.meta.graph[source])
    return names


def _constant(node: Node) -> Array:
    with as_tensorflow():
        if "value" not in node.attributes:
            raise CorruptionError(f"the constant {node.name} has no value", tensor=node.name)
        return np.asarray(node.attributes["value"])


def _as_result(value: Any) -> Any:
    """Return an array, or a scalar as a NumPy scalar or `bytes`."""
    array = np.asarray(value)
    return array[()] if array.ndim == 0 else array
