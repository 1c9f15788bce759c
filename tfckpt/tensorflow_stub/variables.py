"""`tf.Variable`: of an imported graph, or created by a program with a value; a session has the values of both.

While TensorFlow executes eagerly, which is until a program asks for graphs, a variable has its value itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._typing import Array
from ..errors import CorruptionError
from ..graphs.graph import Node
from ..graphs.meta_graph import GraphVariable
from ..train.dtypes import DType, as_dtype
from . import state
from .arrays import Tensor, convert_to_tensor, zeros
from .errors import NotComputedError
from .shapes import TensorShape, from_stored
from .symbols import GLOBAL, TRAINABLE, Action, Graph, SymbolicTensor, default_graph

LOCAL = "local_variables"
AUTO_REUSE = "tf.AUTO_REUSE"


class Variable(SymbolicTensor):
    """A variable; `name` ends with `:0`."""

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        collections: list[str] | None = None,
        validate_shape: bool = True,
        caching_device: object = None,
        name: str | None = None,
        variable_def: object = None,
        dtype: Any = None,
        shape: Any = None,
        **unused: object,
    ) -> None:
        """Create a variable with a value, or with a function without arguments that returns it."""
        if callable(initial_value):
            initial_value = initial_value()
        if initial_value is None:
            raise ValueError("initial_value must be specified")
        self.initial_value: Any = initial_value
        if not isinstance(initial_value, SymbolicTensor):
            self.initial_value = convert_to_tensor(initial_value, dtype)
        self._dtype: DType = self.initial_value.dtype if dtype is None else as_dtype(dtype)
        self._shape = self.initial_value.shape if shape is None else TensorShape(shape)
        self._set_up(default_graph(), name or "Variable", trainable is None or trainable, collections)

    def _set_up(self, graph: Graph, name: str, trainable: bool, collections: list[str] | None) -> None:
        self.trainable = trainable
        self.described: GraphVariable | None = None
        self._value: Array | None = None
        if state.executing_eagerly() and isinstance(self.initial_value, Tensor):
            self._value = np.array(self.initial_value)
        super().__init__(graph.add(name, "VarHandleOp"))
        graph.variables[self.op.name] = self
        for collection in collections or [GLOBAL, *([TRAINABLE] if trainable else [])]:
            graph.add_to_collection(collection, self)
        self.full_name = self.op.name

    @classmethod
    def of_shape(cls, name: str, shape: Any, dtype: Any, *, trainable: bool, collections: list[str] | None) -> Variable:
        """Return a variable without an initial value, which a checkpoint or an assignment has to provide."""
        variable = cls.__new__(cls)
        variable.initial_value = None
        variable._dtype, variable._shape = as_dtype(dtype), TensorShape(shape)
        variable._set_up(default_graph(), name, trainable, collections)
        return variable

    @classmethod
    def imported(cls, graph: Graph, prefix: str, node: Node, described: GraphVariable) -> Variable:
        """Return the variable of a node of an imported graph."""
        variable = cls.__new__(cls)
        variable.initial_value, variable._value = None, None
        kind, shape = node.attributes.get("dtype"), node.attributes.get("shape")
        is_reference = node.op in ("Variable", "VariableV2")
        try:
            variable._dtype = as_dtype(f"{kind}_ref" if is_reference else kind)
        except TypeError:
            raise CorruptionError(f"the variable {node.name} has no valid type", tensor=node.name) from None
        variable._shape = from_stored(shape)  # type: ignore[arg-type]  # a shape, or None
        variable.trainable = described.trainable
        variable.full_name, variable.described = described.full_name, described
        SymbolicTensor.__init__(variable, graph.get_operation_by_name(prefix + node.name))
        graph.variables[prefix + node.name] = variable
        return variable

    @property
    def dtype(self) -> DType:
        """The data type; a reference type for the variables of TF1."""
        return self._dtype

    @property
    def shape(self) -> TensorShape:
        """The shape."""
        return self._shape

    @property
    def initializer(self) -> Action:
        """The operation that gives the variable its initial value."""
        return Action(self.graph, f"{self.op.name}/Assign", lambda session, _: session.initialize([self]))

    def numpy(self) -> Any:
        """Return a copy of the value, if TensorFlow executes eagerly."""
        return Tensor(self.current_value()).numpy()

    def current_value(self) -> Array:
        """Return the value that the variable has without a session; `NotComputedError` if it has none."""
        if self._value is None:
            raise NotComputedError(f"the value of {self.name} without a session")
        return self._value

    def value(self) -> Any:
        """Return the variable itself, as a tensor."""
        return self if self._value is None else Tensor(self._value.copy(), self._dtype)

    read_value = initialized_value = value

    def assign(self, value: Any, use_locking: object = None, name: str | None = None, read_value: bool = True) -> Any:
        """Set the value at once if TensorFlow executes eagerly, else return an operation that does."""
        if self._value is not None and not isinstance(value, SymbolicTensor):
            self._value = self.check(value)
            return self
        return Assignment(self, value)

    def load(self, value: Any, session: Any = None) -> None:
        """Set the value in a session, by default the default one."""
        sessions = state.current().sessions
        (sessions[-1] if session is None else session).set_value(self, self.check(value))

    def check(self, value: Any) -> Array:
        """Return a value as an array of the variable's type; `ValueError` if the shape differs."""
        array = np.array(convert_to_tensor(value, self._dtype.base_dtype))
        if not self._shape.is_compatible_with(array.shape):
            raise ValueError(f"cannot assign a value of shape {list(array.shape)} to {self.name} of {self._shape}")
        return array

    def __repr__(self) -> str:
        value = "" if self._value is None else f", numpy={self.numpy()!r}"
        return f"<tf.Variable {self.name!r} shape={self.shape} dtype={self._dtype.name}{value}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.current_value(), dtype=dtype)


class Assignment(SymbolicTensor):
    """The result of assigning to a variable in a graph: its new value."""

    def __init__(self, variable: Variable, value: Any) -> None:
        super().__init__(variable.graph.add(f"{variable.op.name}/Assign", "AssignVariableOp"))
        self.variable, self.assigned = variable, value


def assign(ref: Variable, value: Any, validate_shape: object = None, use_locking: object = None, name: str = "") -> Any:
    """Return an operation that sets a variable."""
    return ref.assign(value)


class VariableScope:
    """The scope of `get_variable`: a prefix of names, and whether variables are created or found."""

    def __init__(self, name: str, reuse: Any, initializer: Any = None) -> None:
        self.name, self.reuse, self.initializer = name, reuse, initializer
        self.original_name_scope = f"{name}/" if name else ""

    def reuse_variables(self) -> None:
        """Only find variables from now on."""
        self.reuse = True


def get_variable_scope() -> VariableScope:
    """Return the current scope."""
    scopes = state.current().scopes
    return scopes[-1] if scopes else VariableScope("", False)


@contextlib.contextmanager
def variable_scope(
    name_or_scope: Any = None,
    default_name: str | None = None,
    values: object = None,
    initializer: Any = None,
    reuse: Any = None,
    **unused: object,
) -> Iterator[VariableScope]:
    """Put a scope before the names of variables in the block; an existing scope is entered again under its name."""
    outer = get_variable_scope()
    graph = default_graph()
    if isinstance(name_or_scope, VariableScope):
        name = name_or_scope.name
    else:
        name = "/".join(filter(None, [outer.name, name_or_scope or default_name]))
    inner = VariableScope(name, outer.reuse if reuse is None else reuse, initializer or outer.initializer)
    scopes = state.current().scopes
    scopes.append(inner)
    try:
        with graph.name_scope(None), graph.name_scope(name or None):
            yield inner
    finally:
        scopes.remove(inner)


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: object = None,
    trainable: bool | None = None,
    collections: list[str] | None = None,
    **unused: object,
) -> Variable:
    """Return the variable of a name in the current scope, or create it.

    A random initializer is not run: the value comes from an array, a checkpoint, or an assignment.
    """
    scope, graph = get_variable_scope(), default_graph()
    full_name = "/".join(filter(None, [scope.name, name]))
    existing = graph.variables.get(full_name)
    if existing is not None and scope.reuse:
        return existing  # type: ignore[no-any-return]  # a variable
    if existing is not None:
        raise ValueError(f"Variable {full_name} already exists, disallowed. Did you mean to set reuse=True?")
    if scope.reuse is True:
        raise ValueError(f"Variable {full_name} does not exist, or was not created with tf.get_variable().")
    with graph.name_scope(None):
        if initializer is not None and not callable(initializer):
            return Variable(initializer, trainable, collections, name=full_name, dtype=dtype)
        variable = Variable.of_shape(
            full_name, shape, dtype or "float32", trainable=trainable is None or trainable, collections=collections
        )
    if isinstance(initializer, KnownInitializer):
        variable.initial_value = initializer(variable.shape, variable.dtype)
    return variable


class KnownInitializer:
    """An initializer whose values are known: zeros, ones or a constant."""

    def __init__(self, function: Callable[[Any, Any], Tensor]) -> None:
        self._function = function

    def __call__(self, shape: Any, dtype: Any = "float32", partition_info: object = None) -> Tensor:
        return self._function(shape, dtype)


def zeros_initializer(dtype: Any = "float32") -> KnownInitializer:
    """Return an initializer with zeros."""
    return KnownInitializer(zeros)
