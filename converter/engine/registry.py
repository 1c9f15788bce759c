"""The table of operations: a name, what computes it, and how its outputs are called.

A kernel gets a `Call` (the attributes, decoded once, and the dtype to compute in) and the input values.
It gives one value, or a tuple with one for each output.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch

from converter.errors import GraphError, GraphLimitError

from .limits import ReferenceLimits
from .values import is_known, torch_dtype

Kernel = Callable[..., Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Op:
    """An operation that can be run.

    `outputs` are the names TensorFlow gives the outputs, by which the nodes of a function refer to them;
    a list of outputs has one name.
    """

    name: str
    kernel: Kernel
    outputs: tuple[str, ...]


_TABLE: dict[str, Op] = {}
#: What the planner and the evaluator do themselves, since values alone do not say what to run.
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
    "VarHandleOp": ("resource",),
    "Variable": ("ref",),
    "VariableV2": ("ref",),
    "ReadVariableOp": ("value",),
    "ResourceGather": ("output",),
    "ResourceGatherNd": ("output",),
    "VarIsInitializedOp": ("is_initialized",),
    "VariableShape": ("output",),
}
_MODULES = (
    "arithmetic",
    "arrays",
    "comparison",
    "control",
    "convolution",
    "images",
    "indexing",
    "linear",
    "lists",
    "normalization",
    "pooling",
    "reduction",
    "shapes",
    "spaces",
)


def op(*names: str, outputs: Sequence[str] = ("output",)) -> Callable[[Kernel], Kernel]:
    """Enter a kernel under the names of the operations it computes."""

    def enter(kernel: Kernel) -> Kernel:
        for name in names:
            if name in _TABLE:
                raise ValueError(f"the operation {name} is in the table twice")
            _TABLE[name] = Op(name, kernel, tuple(outputs))
        return kernel

    return enter


def find_op(name: str) -> Op | None:
    """The operation of this name; None if it cannot be run, or the evaluator runs it itself."""
    _load()
    return _TABLE.get(name)


def is_supported(name: str) -> bool:
    """Whether an operation can be run."""
    _load()
    return name in _TABLE or name in CONTROL


def output_names(name: str) -> tuple[str, ...]:
    """How the outputs of an operation are called; nothing of one that is not supported."""
    _load()
    found = _TABLE.get(name)
    return found.outputs if found else CONTROL.get(name, ())


def supported_ops() -> tuple[str, ...]:
    """The names of every operation that can be run, in alphabetical order."""
    _load()
    return tuple(sorted({*_TABLE, *CONTROL}))


@functools.cache
def _load() -> None:
    """Import the modules that enter the kernels; once."""
    for module in _MODULES:
        importlib.import_module(f"{__package__}.ops.{module}")


class Call:
    """One node as its kernel sees it: attributes by name, and the dtype of the evaluation."""

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
        """An attribute as it is stored, text as `str`; `default` if the node has none of this name or an empty one."""
        value = self._attributes.get(name)
        return default if value is None else value

    def remember(self, name: str, value: Any) -> Any:
        """Keep what a kernel worked out of the attributes, under a name no attribute has; gives the value back."""
        self._attributes[name] = value
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """An attribute that is true or false."""
        return bool(self.get(name, default))

    def integers(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """An attribute that lists integers."""
        return cast("tuple[int, ...]", self.get(name, default) or tuple(default))

    def type_name(self, name: str, default: str = "float32") -> str:
        """A data type attribute, as TensorFlow's short name; `GraphError` for one that is not computed with."""
        found = str(self.get(name, default)).removesuffix("_ref")
        if not is_known(found):
            raise GraphError(f"tensors of type {found} are not computed with", node=self.name, op=self.op)
        return found

    def torch_dtype(self, name: str, default: str = "float32") -> torch.dtype:
        """A data type attribute, as PyTorch's dtype; floating-point ones are that of the evaluation."""
        return torch_dtype(self.type_name(name, default), self.dtype)

    def check_size(self, shape: Sequence[int], itemsize: int | None = None) -> None:
        """Say that a tensor of this shape is going to be made; `GraphLimitError` if it is over the limit."""
        if not all(type(size) is int for size in shape):
            return  # a symbol of an export
        size = itemsize or self.dtype.itemsize
        for dimension in shape:
            size *= dimension
        if size > self.limits.max_tensor_bytes:
            raise GraphLimitError(
                f"{self.op} asks for a tensor of shape {list(shape)}",
                limit="max_tensor_bytes",
                maximum=self.limits.max_tensor_bytes,
                claimed=size,
                node=self.name,
            )
