"""The table of supported operations: their names, their kernels, and the names of their outputs.

A kernel is a function that is called with a `Call` (the attributes and the dtype to compute in) and the input values.
It returns one value, or a tuple with one value for each output.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch

from converter.errors import GraphError, GraphLimitError

from .dropout import DROPOUT
from .limits import ReferenceLimits
from .values import is_known, torch_dtype

Kernel = Callable[..., Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Op:
    """An operation with a kernel.

    `outputs` are TensorFlow's names of the outputs, which the references inside a function use;
    a list of outputs has one name.
    """

    name: str
    kernel: Kernel
    outputs: tuple[str, ...]


_TABLE: dict[str, Op] = {}
#: Operations that the planner and the evaluator run themselves, since a kernel sees values only; with their outputs.
CONTROL = {
    "Case": ("output",),
    "IdentityN": ("output",),
    "If": ("output",),
    "PartitionedCall": ("output",),
    "StatefulPartitionedCall": ("output",),
    "StatelessCase": ("output",),
    "StatelessIf": ("output",),
    "StatelessWhile": ("output",),
    "While": ("output",),
    "Const": ("output",),
    "Placeholder": ("output",),
    "PlaceholderWithDefault": ("output",),
    "HashTableV2": ("table_handle",),
    "LookupTableFindV2": ("values",),
    "LookupTableSizeV2": ("size",),
    "Assign": ("output_ref",),
    "AssignAdd": ("output_ref",),
    "AssignAddVariableOp": (),
    "AssignSub": ("output_ref",),
    "AssignSubVariableOp": (),
    "AssignVariableOp": (),
    "VarHandleOp": ("resource",),
    "Variable": ("ref",),
    "VariableV2": ("ref",),
    "ReadVariableOp": ("value",),
    "ResourceGather": ("output",),
    "ResourceGatherNd": ("output",),
    "IsVariableInitialized": ("is_initialized",),
    "VarIsInitializedOp": ("is_initialized",),
    "VariableShape": ("output",),
}
#: Operations of loops in TensorFlow 1, which become While nodes before anything is planned.
_FRAMES = ("Enter", "Exit", "LoopCond", "NextIteration")
_MODULES = (
    "arithmetic",
    "arrays",
    "cells",
    "colors",
    "comparison",
    "control",
    "convolution",
    "detection",
    "fused",
    "images",
    "indexing",
    "linear",
    "lists",
    "losses",
    "normalization",
    "optionals",
    "pooling",
    "random",
    "reduction",
    "shapes",
    "spaces",
    "sparse",
    "spectral",
    "strings",
    "tensor_arrays",
)


def op(*names: str, outputs: Sequence[str] = ("output",)) -> Callable[[Kernel], Kernel]:
    """Register a kernel under the names of the operations that it computes."""

    def register(kernel: Kernel) -> Kernel:
        for name in names:
            if name in _TABLE:
                raise ValueError(f"the operation {name} is registered twice")
            _TABLE[name] = Op(name, kernel, tuple(outputs))
        return kernel

    return register


def find_op(name: str) -> Op | None:
    """Return the operation of this name; None if it is not supported, or if the evaluator runs it itself."""
    _load()
    return _TABLE.get(name)


def is_supported(name: str) -> bool:
    """Return whether an operation can be run."""
    _load()
    return name in _TABLE or name in CONTROL or name == DROPOUT


def is_random(name: str) -> bool:
    """Return whether an operation draws random numbers."""
    entry = find_op(name)
    return entry is not None and entry.kernel.__module__ == f"{__package__}.ops.random"


def output_names(name: str) -> tuple[str, ...]:
    """Return the names of an operation's outputs; an empty tuple if it is not supported."""
    _load()
    entry = _TABLE.get(name)
    return entry.outputs if entry else CONTROL.get(name, ())


def supported_ops() -> tuple[str, ...]:
    """Return the names of all operations that can be run, in alphabetical order."""
    _load()
    return tuple(sorted({*_TABLE, *CONTROL, *_FRAMES}))


@functools.cache
def _load() -> None:
    """Import the modules that register the kernels, once."""
    for module in _MODULES:
        importlib.import_module(f"{__package__}.ops.{module}")


class Call:
    """One node as its kernel sees it: its attributes by name, and the dtype to compute in."""

    __slots__ = ("_attributes", "dtype", "limits", "name", "op")

    def __init__(
        self, name: str, op: str, attributes: Mapping[str, object], dtype: torch.dtype, limits: ReferenceLimits
    ) -> None:
        self.name = name
        self.op = op
        self.dtype = dtype
        self.limits = limits
        self._attributes: dict[str, Any] = {
            key: value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
            for key, value in attributes.items()
        }

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute as stored, strings as `str`; `default` if it is missing or empty."""
        value = self._attributes.get(name)
        return default if value is None else value

    def remember(self, name: str, value: Any) -> Any:
        """Store a value that a kernel derived from the attributes, under an unused name, and return it."""
        self._attributes[name] = value
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean attribute."""
        return bool(self.get(name, default))

    def integers(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        return cast("tuple[int, ...]", self.get(name, default) or tuple(default))

    def type_name(self, name: str, default: str = "float32") -> str:
        """Return a dtype attribute as TensorFlow's short name; raise `GraphError` if it is not supported."""
        type_name = str(self.get(name, default)).removesuffix("_ref")
        if not is_known(type_name):
            raise GraphError(f"tensors of type {type_name} are not supported", node=self.name, op=self.op)
        return type_name

    def torch_dtype(self, name: str, default: str = "float32") -> torch.dtype:
        """Return a dtype attribute as PyTorch's dtype; any floating-point type becomes the engine's."""
        return torch_dtype(self.type_name(name, default), self.dtype)

    def check_size(self, shape: Sequence[int], itemsize: int | None = None) -> None:
        """Raise `GraphLimitError` if a tensor of this shape would be over the limit; `itemsize` is in bytes."""
        if not all(type(size) is int for size in shape):
            return  # the size is a symbol during an export
        size = itemsize or self.dtype.itemsize
        for dimension in shape:
            size *= dimension
        if size > self.limits.max_tensor_bytes:
            raise GraphLimitError(
                f"{self.op} would create a tensor of shape {list(shape)}",
                limit="max_tensor_bytes",
                maximum=self.limits.max_tensor_bytes,
                claimed=size,
                node=self.name,
            )
